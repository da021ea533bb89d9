// The kind of device that computes. What is not the same on a CPU and on an accelerator stands behind this one
// interface, a folder for each kind: kernels/cpu/. Nothing outside of that folder names the CPU, which
// tests/limits/layers_test.py sees to; tests/conformance/device_test.cc says what every kind must do.
//
// Bits: what a call computes is a function of its arguments alone, the same on every device of a job.
// Owns: nothing of what it makes, tensors keep their memory; but it outlives all that was made with it.
// Threads: any may call, unless a function says otherwise.
// Errors: what LibTorch throws passes through; BrokenInvariant where a REQUIRES does not hold and it is noticed.
// Units: bytes where the name says so, else elements. Shapes are those of contiguous tensors.
#pragma once

#include <ATen/core/TensorBody.h>
#include <ATen/core/stack.h>
#include <c10/core/Allocator.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/reduce.h"
#include "graph/graph.h"
#include "kernels/kernel.h"

namespace shoal::kernels {

/// Who serves LibTorch's allocations in place of the usual allocator (run/arena.h).
class AllocationHook {
 public:
  virtual ~AllocationHook() = default;
  virtual c10::DataPtr allocate(size_t bytes) = 0;
  /// Told of memory that is freed. True: there is nothing to free.
  virtual bool release(void* data) = 0;
};

/// A call of scaled_dot_product_attention, as capture sees it: tensors without numbers.
struct AttentionCall {
  const at::Tensor &query, &key, &value;
  const std::optional<at::Tensor>& mask;
  double dropout;
  bool is_causal;
  bool is_grouped;  // keys and values may have fewer heads
};

class Device {
 public:
  virtual ~Device() = default;

  /// Where its tensors are, as LibTorch names it.
  virtual c10::Device torch_device() const = 0;
  bool holds(const at::Tensor& tensor) const { return tensor.device().type() == torch_device().type(); }

  // --- Memory ---

  /// A tensor with memory of its own and any numbers; its address is a multiple of kAlignment.
  virtual at::Tensor empty(at::IntArrayRef shape, c10::ScalarType) = 0;
  /// A tensor over memory that somebody else keeps at least as long: a window, a part of another tensor.
  virtual at::Tensor view(void* data, at::IntArrayRef shape, c10::ScalarType) = 0;
  /// Between memory of the device, windows, and memory of the host. REQUIRES: the two do not overlap.
  virtual void copy(void* to, const void* from, size_t bytes) = 0;

  // --- How tensors lie in memory. Parts: graph::Cut sees the cut dim as [outer, parts, rest] ---

  /// The same numbers, laid out anew. Indices that share an element have the same number.
  virtual at::Tensor restride(const at::Tensor&, at::IntArrayRef strides) = 0;
  /// Part `part` of `parts` of a whole tensor: a copy, contiguous.
  virtual at::Tensor take_part(const at::Tensor& whole, const graph::Cut&, int64_t parts, int part) = 0;
  /// The whole tensor of all its parts, in order.
  virtual at::Tensor join_parts(const std::vector<at::Tensor>& parts, const graph::Cut&) = 0;

  // --- Sums in the one order of comm/reduce.h, with its bits and its REQUIRES; done when the call returns ---

  virtual void sum_roots(int64_t n, std::span<const comm::Root> roots, std::span<float> out) = 0;
  virtual void add_into(std::span<float> into, const std::byte* from, comm::DType) = 0;
  virtual double sum_of_squares(std::span<const float> values) = 0;

  // --- Kernels ---

  /// Our own for an operator; null: LibTorch's serves.
  virtual Kernel find_kernel(const std::string& op) = 0;
  /// Whether that kernel draws random numbers, by counter.
  virtual bool draws_by_counter(const std::string& op) = 0;

  // --- What bits depend on beside the arguments ---

  /// Sets what makes bits repeat; comes before the first kernel runs, and may be called again. Returns the kind of
  /// device, part of a run's definition ("cpu AVX512, mkl strict branch 10, libtorch 2.13.0"). Throws InputError
  /// where LibTorch is told to compute otherwise.
  virtual std::string make_reproducible() = 0;
  /// Runs `work` while LibTorch's generator gives the numbers of torch::manual_seed(seed); afterwards it is as it
  /// was, also when `work` throws. Calls wait for each other. REQUIRES: `work` does not call it.
  virtual void with_generator(uint64_t seed, const std::function<void()>& work) = 0;

  // --- What eager does on this device, which capture mirrors ---

  /// The results of an operator that LibTorch has no shape function for: replaces its arguments on the stack
  /// (tensors on Meta) by them, laid out as the device's kernel lays them out. False: it has no rule.
  virtual bool infer_shapes(const std::string& op, torch::jit::Stack&) = 0;
  /// Whether one fused kernel takes the call. Else it comes apart into other operators.
  virtual bool takes_attention(const AttentionCall&) = 0;
  /// Whether one kernel takes a layer of an LSTM with this input.
  virtual bool takes_lstm(const at::Tensor& input) = 0;

  // --- What an arena is made of ---

  /// From here on LibTorch's allocations of this thread go to `hook`; null: to the usual allocator. Returns who
  /// served before. What a hook gave may be freed while another serves, or none.
  virtual AllocationHook* serve(AllocationHook* hook) = 0;
  /// Of the usual allocator, whoever serves. The hook that serves when it is freed is told.
  virtual c10::DataPtr allocate(size_t bytes) = 0;
  /// A pointer as allocate() gives them to memory that is not freed with it.
  virtual c10::DataPtr lend(void* data) = 0;
  /// A region to lend pieces of; null when the system has no memory for it. What lies free in the usual allocator
  /// goes back to the system. REQUIRES: bytes > 0; each region is given back, with its size.
  virtual std::byte* reserve(size_t bytes) noexcept = 0;
  virtual void give_back(std::byte* region, size_t bytes) noexcept = 0;
};

}  // namespace shoal::kernels
