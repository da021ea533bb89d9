#include "kernels/cpu/cpu_device.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>
#include <mutex>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/parts.h"
#include "kernels/cpu/random_kernels.h"
#include "kernels/cpu/reproducible.h"
#include "kernels/cpu/shape_rules.h"

namespace shoal::kernels {
namespace {

at::TensorOptions options(c10::ScalarType dtype) { return at::TensorOptions().dtype(dtype).device(at::kCPU); }

// The process has one generator: it is borrowed.
class BorrowedGenerator {
 public:
  explicit BorrowedGenerator(uint64_t seed)
      : generator_(at::detail::getDefaultCPUGenerator()), before_(generator_.get_state()) {
    generator_.set_current_seed(seed);
  }
  ~BorrowedGenerator() { generator_.set_state(before_); }
  BorrowedGenerator(const BorrowedGenerator&) = delete;
  BorrowedGenerator& operator=(const BorrowedGenerator&) = delete;

 private:
  at::Generator generator_;
  at::Tensor before_;
};

class CpuDevice final : public Device {
 public:
  c10::Device torch_device() const override { return at::kCPU; }

  at::Tensor empty(at::IntArrayRef shape, c10::ScalarType dtype) override {
    return at::empty(shape, options(dtype));
  }
  at::Tensor view(void* data, at::IntArrayRef shape, c10::ScalarType dtype) override {
    return at::from_blob(data, shape, options(dtype));
  }
  void copy(void* to, const void* from, size_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }

  at::Tensor restride(const at::Tensor& x, at::IntArrayRef strides) override {
    return kernels::restride(x, strides);
  }
  at::Tensor take_part(const at::Tensor& whole, const graph::Cut& cut, int64_t parts, int part) override {
    return kernels::take_part(whole, cut, parts, part);
  }
  at::Tensor join_parts(const std::vector<at::Tensor>& parts, const graph::Cut& cut) override {
    return kernels::join_parts(parts, cut);
  }

  void sum_roots(int64_t n, std::span<const comm::Root> roots, std::span<float> out) override {
    comm::sum_roots(n, roots, out);
  }
  void add_into(std::span<float> into, const std::byte* from, comm::DType dtype) override {
    comm::add_into(into, from, dtype);
  }
  double sum_of_squares(std::span<const float> values) override { return comm::sum_of_squares(values); }

  Kernel find_kernel(const std::string& op) override { return kernels::find_kernel(op); }
  bool draws_by_counter(const std::string& op) override { return find_random_kernel(op) != nullptr; }

  std::string make_reproducible() override { return kernels::make_reproducible(); }
  void with_generator(uint64_t seed, const std::function<void()>& work) override {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    const BorrowedGenerator generator(seed);
    work();
  }

  bool infer_shapes(const std::string& op, torch::jit::Stack& stack) override {
    return apply_shape_rule(op, stack);
  }
  bool takes_attention(const AttentionCall& call) override { return kernels::takes_attention(call); }
  bool takes_lstm(const at::Tensor& input) override { return kernels::takes_lstm(input); }

  AllocationHook* serve(AllocationHook* hook) override { return serve_allocations(hook); }
  c10::DataPtr allocate(size_t bytes) override { return allocate_usual(bytes); }
  c10::DataPtr lend(void* data) override { return lend_memory(data); }
  std::byte* reserve(size_t bytes) noexcept override { return reserve_region(bytes); }
  void give_back(std::byte* region, size_t bytes) noexcept override { give_region_back(region, bytes); }
};

}  // namespace

Device& cpu() {
  static CpuDevice device;
  return device;
}

}  // namespace shoal::kernels
