// Tensors that stand for others (twins), found again by the memory that the others lie in: data(), detach() and
// stored views of a parameter are tensors of their own that share its storage.
#pragma once

#include <ATen/core/TensorBody.h>

#include <string>
#include <unordered_map>
#include <vector>

namespace shoal::capture {

class SharedMemory {
 public:
  /// `original` belongs to the module, or lives outside of it.
  void add(const std::string& name, const at::Tensor& original, const at::Tensor& twin, bool is_own);

  /// Throws InputError when a tensor of the module overlaps another one, and one of them is trained: each would
  /// change with the other.
  void check_apart(const std::string& name, const at::Tensor& original) const;

  /// The view of a twin that `tensor` is of its original; undefined when it shares memory with none. Throws
  /// InputError where the view cannot be followed.
  at::Tensor view(const at::Tensor& tensor) const;

  bool contains(const at::Tensor& tensor) const { return known_.contains(storage_of(tensor)); }
  void clear() { known_.clear(); }

  static const c10::StorageImpl* storage_of(const at::Tensor& tensor) {
    return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
  }

 private:
  struct Known {
    std::string name;  // in sentences
    at::Tensor original, twin;
    bool is_own;
  };
  static at::Tensor view_of(const Known&, const at::Tensor&);

  std::unordered_map<const c10::StorageImpl*, std::vector<Known>> known_;
};

/// "tensor f32[2,3]", in sentences.
std::string text_of(const at::Tensor&);

/// Throws InputError: "capture - WHAT: WHY".
[[noreturn]] void refuse(const std::string& what, const std::string& why);

}  // namespace shoal::capture
