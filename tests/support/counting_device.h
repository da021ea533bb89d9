// A Device that passes every call on to another, counts it, and checks it: what another kind of device could not do
// is asked of none.
#pragma once

#include <torch/torch.h>

#include <array>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/blocks.h"
#include "base/text.h"
#include "kernels/device.h"

namespace shoal::test {

/// Kinds of call.
enum class DeviceCall {
  kEmpty,
  kView,
  kCopy,
  kParts,  // restride, take_part, join_parts
  kSum,    // sum_roots, add_into
  kSquares,
  kKernel,
  kReproducible,
  kGenerator,
  kShapes,
  kChoice,  // takes_attention, takes_lstm
  kServe,
  kAllocate,
  kLend,
  kReserve,
};
inline constexpr std::array kDeviceCallNames = {
    "empty",     "view",   "copy",   "parts", "sum",      "squares", "kernel", "reproducible",
    "generator", "shapes", "choice", "serve", "allocate", "lend",    "reserve"};

/// Threads: any, as of a Device. A wrong call throws std::logic_error; where that cannot be, its sentence is kept for
/// faults().
class CountingDevice final : public kernels::Device {
 public:
  /// `inner` must outlive this.
  explicit CountingDevice(kernels::Device& inner) : inner_(inner) {}

  int64_t count(DeviceCall call) const {
    const std::lock_guard lock(mutex_);
    return counts_[static_cast<size_t>(call)];
  }
  /// What went wrong where nothing could be thrown, and regions that nobody gave back.
  std::vector<std::string> faults() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> all = faults_;
    for (const auto& [region, bytes] : regions_)
      all.push_back(cat("reserve: a region of ", bytes, " bytes is left"));
    return all;
  }

  c10::Device torch_device() const override { return inner_.torch_device(); }

  at::Tensor empty(at::IntArrayRef shape, c10::ScalarType dtype) override {
    note(DeviceCall::kEmpty);
    const at::Tensor made = inner_.empty(shape, dtype);
    check_type("empty", made, shape, dtype);
    remember(made);
    return made;
  }

  at::Tensor view(void* data, at::IntArrayRef shape, c10::ScalarType dtype) override {
    note(DeviceCall::kView);
    const size_t bytes = static_cast<size_t>(c10::multiply_integers(shape)) * c10::elementSize(dtype);
    check_aligned("view", data);
    check_inside("view", data, bytes);
    const at::Tensor made = inner_.view(data, shape, dtype);
    check_type("view", made, shape, dtype);
    require(bytes == 0 || made.const_data_ptr() == data, "view", "it lies elsewhere");
    return made;
  }

  void copy(void* to, const void* from, size_t bytes) override {
    note(DeviceCall::kCopy);
    check_inside("copy to", to, bytes);
    check_inside("copy from", from, bytes);
    check_apart("copy", to, from, bytes);
    inner_.copy(to, from, bytes);
  }

  at::Tensor restride(const at::Tensor& x, at::IntArrayRef strides) override {
    note(DeviceCall::kParts);
    require(std::ssize(strides) == x.dim(), "restride", cat(strides.size(), " strides for ", x.dim(), " dims"));
    const at::Tensor made = inner_.restride(x, strides);
    require(made.sizes() == x.sizes() && made.strides() == strides && made.scalar_type() == x.scalar_type(),
            "restride", "it has another type");
    return made;
  }

  at::Tensor take_part(const at::Tensor& whole, const graph::Cut& cut, int64_t parts, int part) override {
    note(DeviceCall::kParts);
    require(cut.dim >= 0 && cut.dim < whole.dim(), "take_part", cat("dim ", cut.dim));
    require(whole.size(cut.dim) % (cut.outer * parts) == 0, "take_part", "the parts are unequal");
    require(part >= 0 && part < parts, "take_part", cat("part ", part, " of ", parts));
    std::vector<int64_t> shape = whole.sizes().vec();
    shape[static_cast<size_t>(cut.dim)] /= parts;
    const at::Tensor made = inner_.take_part(whole, cut, parts, part);
    check_type("take_part", made, shape, whole.scalar_type());
    return made;
  }

  at::Tensor join_parts(const std::vector<at::Tensor>& parts, const graph::Cut& cut) override {
    note(DeviceCall::kParts);
    require(!parts.empty(), "join_parts", "no parts");
    for (const at::Tensor& part : parts)
      require(part.sizes() == parts[0].sizes() && part.scalar_type() == parts[0].scalar_type(), "join_parts",
              "the parts are unlike");
    std::vector<int64_t> shape = parts[0].sizes().vec();
    shape.at(static_cast<size_t>(cut.dim)) *= std::ssize(parts);
    const at::Tensor made = inner_.join_parts(parts, cut);
    check_type("join_parts", made, shape, parts[0].scalar_type());
    return made;
  }

  // The roots are whole subtrees that cover the leaves once, in order; the result lies where one of them does, or
  // apart from all.
  void sum_roots(int64_t n, std::span<const comm::Root> roots, std::span<float> out) override {
    note(DeviceCall::kSum);
    check_aligned("sum_roots", out.data());
    check_inside("sum_roots out", out.data(), out.size_bytes());
    int64_t covered = 0;
    for (const comm::Root& root : roots) {
      require(root.leaves.begin == covered && !root.leaves.empty(), "sum_roots",
              cat("leaves ", covered, " and ", root.leaves.begin, " do not meet"));
      require(comm::tree_roots(n, root.leaves) == std::vector{root.leaves}, "sum_roots",
              cat("leaves ", root.leaves.begin, " to ", root.leaves.end, " of ", n, " are no subtree"));
      require(root.dtype != comm::DType::kF64, "sum_roots", "a root in fp64");
      covered = root.leaves.end;
      const size_t bytes = out.size() * comm::element_bytes(root.dtype);
      check_inside("sum_roots root", root.data, bytes);
      const bool in_place =
          root.dtype == comm::DType::kF32 && root.data == reinterpret_cast<const std::byte*>(out.data());
      if (!in_place) check_apart("sum_roots", out.data(), root.data, out.size_bytes(), bytes);
    }
    require(covered == n, "sum_roots", cat("got ", covered, " leaves, want ", n));
    inner_.sum_roots(n, roots, out);
  }

  void add_into(std::span<float> into, const std::byte* from, comm::DType dtype) override {
    note(DeviceCall::kSum);
    require(dtype != comm::DType::kF64, "add_into", "fp64");
    const size_t bytes = into.size() * comm::element_bytes(dtype);
    check_aligned("add_into", into.data());
    check_inside("add_into", into.data(), into.size_bytes());
    check_inside("add_into from", from, bytes);
    check_apart("add_into", into.data(), from, into.size_bytes(), bytes);
    inner_.add_into(into, from, dtype);
  }

  double sum_of_squares(std::span<const float> values) override {
    note(DeviceCall::kSquares);
    check_inside("sum_of_squares", values.data(), values.size_bytes());
    return inner_.sum_of_squares(values);
  }

  kernels::Kernel find_kernel(const std::string& op) override {
    note(DeviceCall::kKernel);
    require(op.find("::") != std::string::npos, "find_kernel", cat("no operator: ", op));
    return inner_.find_kernel(op);
  }
  bool draws_by_counter(const std::string& op) override {
    note(DeviceCall::kKernel);
    const bool draws = inner_.draws_by_counter(op);
    require(!draws || inner_.find_kernel(op) != nullptr, "draws_by_counter", cat(op, " has no kernel"));
    return draws;
  }

  std::string make_reproducible() override {
    note(DeviceCall::kReproducible);
    const std::string kind = inner_.make_reproducible();
    require(!kind.empty(), "make_reproducible", "no name");
    return kind;
  }

  void with_generator(uint64_t seed, const std::function<void()>& work) override {
    note(DeviceCall::kGenerator);
    thread_local bool within = false;
    require(!within, "with_generator", "it is called by its own work");
    struct Within {
      Within() { within = true; }
      ~Within() { within = false; }
    };
    inner_.with_generator(seed, [&] {
      const Within here;
      work();
    });
  }

  bool infer_shapes(const std::string& op, torch::jit::Stack& stack) override {
    note(DeviceCall::kShapes);
    for (const c10::IValue& value : stack)
      require(!value.isTensor() || !value.toTensor().defined() || value.toTensor().is_meta(), "infer_shapes",
              cat("an argument of ", op, " is not on Meta"));
    if (!inner_.infer_shapes(op, stack)) return false;
    for (const c10::IValue& value : stack)
      require(!value.isTensor() || !value.toTensor().defined() || value.toTensor().is_meta(), "infer_shapes",
              cat("a result of ", op, " is not on Meta"));
    return true;
  }
  bool takes_attention(const kernels::AttentionCall& call) override {
    note(DeviceCall::kChoice);
    const bool defined = call.query.defined() && call.key.defined() && call.value.defined();
    require(defined, "takes_attention", "no tensors");
    return inner_.takes_attention(call);
  }
  bool takes_lstm(const at::Tensor& input) override {
    note(DeviceCall::kChoice);
    return inner_.takes_lstm(input);
  }

  kernels::AllocationHook* serve(kernels::AllocationHook* hook) override {
    note(DeviceCall::kServe);
    return inner_.serve(hook);
  }
  c10::DataPtr allocate(size_t bytes) override {
    note(DeviceCall::kAllocate);
    c10::DataPtr data = inner_.allocate(bytes);
    check_aligned("allocate", data.get());
    require(data.device() == torch_device(), "allocate", "memory of another device");
    return data;
  }
  c10::DataPtr lend(void* data) override {
    note(DeviceCall::kLend);
    check_aligned("lend", data);
    c10::DataPtr lent = inner_.lend(data);
    require(lent.get() == data && lent.device() == torch_device(), "lend", "it lies elsewhere");
    return lent;
  }
  std::byte* reserve(size_t bytes) noexcept override {
    note(DeviceCall::kReserve);
    std::byte* const region = inner_.reserve(bytes);
    const std::lock_guard lock(mutex_);
    if (bytes == 0) faults_.push_back("reserve: no bytes");
    if (reinterpret_cast<uintptr_t>(region) % kAlignment != 0) faults_.push_back("reserve: it is not aligned");
    if (region != nullptr) regions_[region] = bytes;
    return region;
  }
  void give_back(std::byte* region, size_t bytes) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      const auto known = regions_.find(region);
      if (known == regions_.end() || known->second != bytes) {
        faults_.push_back("give_back: no such region");
        return;
      }
      regions_.erase(known);
    }
    inner_.give_back(region, bytes);
  }

 private:
  struct Allocation {
    size_t bytes;
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;
  };

  void note(DeviceCall call) {
    const std::lock_guard lock(mutex_);
    ++counts_[static_cast<size_t>(call)];
  }

  static void require(bool holds, const char* call, const std::string& what) {
    if (!holds) throw std::logic_error(cat("device call ", call, " - ", what));
  }
  static void check_aligned(const char* call, const void* data) {
    require(reinterpret_cast<uintptr_t>(data) % kAlignment == 0, call, "the address is no multiple of 64");
  }
  static void check_apart(const char* call, const void* a, const void* b, size_t a_bytes, size_t b_bytes) {
    const auto x = reinterpret_cast<uintptr_t>(a), y = reinterpret_cast<uintptr_t>(b);
    const bool apart = x + a_bytes <= y || y + b_bytes <= x || a_bytes == 0 || b_bytes == 0;
    require(apart, call, "what it reads overlaps");
  }
  static void check_apart(const char* call, const void* a, const void* b, size_t bytes) {
    check_apart(call, a, b, bytes, bytes);
  }

  void check_type(const char* call, const at::Tensor& tensor, at::IntArrayRef shape,
                  c10::ScalarType dtype) const {
    require(tensor.sizes() == shape && tensor.scalar_type() == dtype, call, "it has another type");
    require(tensor.is_contiguous() && holds(tensor), call, "it lies elsewhere");
    if (tensor.numel() > 0) check_aligned(call, tensor.const_data_ptr());
  }

  // No two tensors that live have memory in common.
  void remember(const at::Tensor& tensor) {
    if (tensor.numel() == 0) return;
    const auto* const begin = static_cast<const std::byte*>(tensor.const_data_ptr());
    const std::lock_guard lock(mutex_);
    std::erase_if(allocations_, [](const auto& entry) { return entry.second.storage.expired(); });
    const auto next = allocations_.lower_bound(begin);
    require(next == allocations_.end() || begin + tensor.nbytes() <= next->first, "empty", "its memory is in use");
    if (next != allocations_.begin()) {
      const auto& [start, before] = *std::prev(next);
      require(start + before.bytes <= begin, "empty", "its memory is in use");
    }
    allocations_.emplace(begin, Allocation{tensor.nbytes(), tensor.storage().getWeakStorageImpl()});
  }

  // What begins in a tensor of ours ends there. Windows and memory of the host are not ours.
  void check_inside(const char* call, const void* data, size_t bytes) const {
    if (bytes == 0) return;
    require(data != nullptr, call, "no address");
    const auto* const begin = static_cast<const std::byte*>(data);
    const std::lock_guard lock(mutex_);
    const auto after = allocations_.upper_bound(begin);
    if (after == allocations_.begin()) return;
    const auto& [start, allocation] = *std::prev(after);
    if (allocation.storage.expired() || begin >= start + allocation.bytes) return;
    require(begin + bytes <= start + allocation.bytes, call,
            cat(bytes, " bytes from ", begin - start, " of a tensor of ", allocation.bytes));
  }

  kernels::Device& inner_;
  mutable std::mutex mutex_;
  std::array<int64_t, kDeviceCallNames.size()> counts_{};
  std::vector<std::string> faults_;
  std::map<const std::byte*, size_t> regions_;
  std::map<const std::byte*, Allocation> allocations_;  // of empty(), by address
};

}  // namespace shoal::test
