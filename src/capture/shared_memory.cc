#include "capture/shared_memory.h"

#include "base/text.h"
#include "capture/ghost.h"
#include "graph/graph.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

// The bytes of its storage that a tensor of the host lies in.
std::pair<int64_t, int64_t> bytes_of(const at::Tensor& tensor) {
  int64_t last = tensor.storage_offset();
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) last += (tensor.size(dim) - 1) * tensor.stride(dim);
  const auto width = static_cast<int64_t>(tensor.element_size());
  return {tensor.storage_offset() * width, tensor.numel() == 0 ? 0 : (last + 1) * width};
}

bool overlap(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == 0 || b.numel() == 0) return false;
  const at::Tensor ghost = ghost_beneath(a), other = ghost_beneath(b);
  // Where in a memory that does not exist yet a view lies is not known; the whole of it is.
  if (ghost.defined() || other.defined())
    return ghost.defined() && other.defined() && ghost_id(ghost) == ghost_id(other);
  const auto x = bytes_of(a), y = bytes_of(b);
  return x.first < y.second && y.first < x.second;
}

}  // namespace

void refuse(const std::string& what, const std::string& why) {
  throw InputError(cat("capture - ", what, ": ", why));
}

std::string text_of(const at::Tensor& tensor) {
  return cat("tensor ", graph::dtype_name(tensor.scalar_type()), "[", join(tensor.sizes(), ","), "]");
}

void SharedMemory::add(const std::string& name, const at::Tensor& original, const at::Tensor& twin,
                       bool is_own) {
  known_[storage_of(original)].push_back({name, original, twin, is_own});
}

void SharedMemory::check_apart(const std::string& name, const at::Tensor& original) const {
  const auto found = known_.find(storage_of(original));
  if (found == known_.end()) return;
  for (const Known& known : found->second)
    if (overlap(known.original, original) && (known.original.requires_grad() || original.requires_grad()))
      refuse(name, cat("it shares memory with ", known.name,
                       " (set_data, or views of one tensor), so that each would change with the other; to tie "
                       "them, register the same tensor under both names"));
}

at::Tensor SharedMemory::view(const at::Tensor& tensor) const {
  const auto found = known_.find(storage_of(tensor));
  if (found == known_.end()) return {};
  if (const at::Tensor ghost = ghost_beneath(tensor); ghost.defined()) {
    for (const Known& known : found->second) {
      const at::Tensor own = ghost_beneath(known.original);
      if (own.defined() && ghost_id(own) == ghost_id(ghost)) return known.twin.detach();
      if (known.is_own)
        refuse(text_of(tensor), cat("it is a view of ", known.name,
                                    " that was made before forward was called; make it in forward"));
    }
    return {};
  }
  const auto bytes = bytes_of(tensor);
  for (const Known& known : found->second) {
    const auto all = bytes_of(known.original);
    if (all.first <= bytes.first && bytes.second <= all.second) return view_of(known, tensor);
  }
  for (const Known& known : found->second)
    if (overlap(known.original, tensor))
      refuse(text_of(tensor), cat("it shares memory with ", known.name,
                                  " and reaches beyond it; use the tensors that it is made of"));
  return {};
}

at::Tensor SharedMemory::view_of(const Known& known, const at::Tensor& tensor) {
  const at::Tensor& original = known.original;
  const bool same = tensor.sizes() == original.sizes() && tensor.strides() == original.strides();
  if (tensor.scalar_type() != original.scalar_type() || (!same && !original.is_contiguous()))
    refuse(text_of(tensor), cat("it is a view of the memory of ", known.name,
                                " that capture cannot follow; make it in forward"));
  // A gradient reaches the original through a view that autograd knows of, not through data() or detach().
  const bool differentiable = tensor.requires_grad() && tensor.is_view() && tensor._base().is_same(original);
  if (tensor.requires_grad() && !differentiable && !tensor.is_leaf())
    refuse(text_of(tensor), cat("it was computed from ", known.name,
                                " before forward was called (it has a grad_fn); compute it in forward"));
  const at::Tensor source = differentiable ? known.twin : known.twin.detach();
  if (same) return source;
  return source.as_strided(tensor.sizes(), tensor.strides(),
                           tensor.storage_offset() - original.storage_offset());
}

}  // namespace shoal::capture
