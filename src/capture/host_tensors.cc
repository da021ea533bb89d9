#include "capture/host_tensors.h"

#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/text.h"
#include "capture/recorder.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

bool has_numbers(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.layout() == at::kStrided && tensor.has_storage();
}

const c10::StorageImpl* storage_of(const at::Tensor& tensor) {
  return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
}

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

std::string text_of(const at::Tensor& tensor) {
  return cat("tensor ", graph::dtype_name(tensor.scalar_type()), "[", join(tensor.sizes(), ","), "]");
}

[[noreturn]] void refuse(const std::string& what, const std::string& why) {
  throw InputError(cat("capture - ", what, ": ", why));
}

}  // namespace

void HostTensors::add_own(const std::string& name, const at::Tensor& original, const at::Tensor& twin) {
  if (const at::Tensor ghost = ghost_beneath(original); ghost.defined()) constructor_ = ghost_origin(ghost);
  std::vector<Known>& sharers = known_[storage_of(original)];
  for (const Known& known : sharers)
    if (overlap(known.original, original) && (known.original.requires_grad() || original.requires_grad()))
      refuse(name, cat("it shares memory with ", known.name,
                       " (set_data, or views of one tensor), so that each would change with the other; to tie "
                       "them, register the same tensor under both names"));
  sharers.push_back({name, original, twin, /*is_own=*/true});
}

const HostTensors::Known* HostTensors::sharer(const at::Tensor& tensor) const {
  const auto found = known_.find(storage_of(tensor));
  if (found == known_.end()) return nullptr;
  const auto bytes = bytes_of(tensor);
  for (const Known& known : found->second) {
    const auto all = bytes_of(known.original);
    if (all.first <= bytes.first && bytes.second <= all.second) return &known;
  }
  for (const Known& known : found->second)
    if (overlap(known.original, tensor))
      refuse(text_of(tensor), cat("it shares memory with ", known.name,
                                  " and reaches beyond it; use the tensors that it is made of"));
  return nullptr;
}

at::Tensor HostTensors::view_of(const Known& known, const at::Tensor& tensor) const {
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
  return source.as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset() - original.storage_offset());
}

at::Tensor HostTensors::resolve(const at::Tensor& tensor, bool is_written) {
  if (const at::Tensor ghost = ghost_beneath(tensor); ghost.defined())
    return ghost_origin(ghost) == recording_.origin() ? tensor : resolve_ghost(tensor, ghost, is_written);
  if (!has_numbers(tensor) || tensor.unsafeGetTensorImpl()->is_wrapped_number()) return tensor;
  if (const Known* known = sharer(tensor)) return view_of(*known, tensor);
  if (is_written && kept_.contains(storage_of(tensor)))
    refuse(text_of(tensor), "forward keeps it from call to call and changes it, which is not supported; "
                            "register it with register_buffer");
  if (made_.contains(storage_of(tensor))) return tensor;
  if (tensor.numel() == 0) return tensor;
  if (tensor.requires_grad() && !tensor.is_leaf()) {
    if (!tensor.is_view())
      refuse(text_of(tensor), "it was computed before forward was called, from what requires a gradient (it has a "
                              "grad_fn), and would stay as it is; compute it in forward, or detach() it");
    add_external(at::Tensor(tensor._base()));
    return resolve(tensor, is_written);
  }
  return add_external(tensor);
}

at::Tensor HostTensors::resolve_ghost(const at::Tensor& tensor, const at::Tensor& ghost, bool is_written) {
  if (const auto found = known_.find(storage_of(tensor)); found != known_.end())
    for (const Known& known : found->second) {
      const at::Tensor own = ghost_beneath(known.original);
      if (own.defined() && ghost_id(own) == ghost_id(ghost)) return known.twin.detach();
      if (known.is_own)
        refuse(text_of(tensor), cat("it is a view of ", known.name,
                                    " that was made before forward was called; make it in forward"));
    }
  const std::shared_ptr<Origin>& origin = ghost_origin(ghost);
  if (const at::Tensor kept = origin->kept(ghost_id(ghost)); kept.defined()) {
    if (is_written)
      refuse(text_of(tensor), "forward keeps it from call to call and changes it, which is not supported; "
                              "register it with register_buffer");
    kept_.emplace(storage_of(kept), kept.storage());
    note_made(kept);
    return kept;
  }
  if (!origin->of_constructor)
    refuse(text_of(tensor), "forward kept it from an earlier call (in a member, say), and the state that one call "
                            "leaves to the next is not carried; make it anew in each call, or put it in the batch");
  if (origin == constructor_)
    throw InputError(cat("capture - tensor [", join(tensor.sizes(), ","),
                         "]: it was made by the constructor of a described model, which kept it without "
                         "registering it; use register_buffer"));
  return add_external(tensor);
}

at::Tensor HostTensors::add_external(const at::Tensor& tensor) {
  graph::TensorType type = graph::type_of(tensor);
  at::Tensor twin = recording_.add_input(graph::InputKind::kExternal, cat("x", externals_.size()), type);
  const graph::ValueId id = ghost_id(ghost_beneath(twin));
  recording_.graph().externals.emplace(id, tensor);
  if (tensor.requires_grad()) twin.requires_grad_();
  const std::string name = cat(text_of(tensor), " outside of the model");
  recording_.substitute(name, tensor, twin);
  known_[storage_of(tensor)].push_back({name, tensor, twin, /*is_own=*/false});
  const bool is_borrowed = has_numbers(tensor) && tensor.storage().data_ptr().get_context() == nullptr;
  externals_.push_back({twin, id, is_borrowed ? tensor.detach().clone() : at::Tensor()});
  return twin;
}

void HostTensors::note_made(const at::Tensor& tensor) {
  if (!tensor.defined() || ghost_beneath(tensor).defined() || !has_numbers(tensor)) return;
  if (!known_.contains(storage_of(tensor))) made_.emplace(storage_of(tensor), tensor.storage());
}

bool HostTensors::is_made(const at::Tensor& tensor) const {
  return !ghost_beneath(tensor).defined() && has_numbers(tensor) && made_.contains(storage_of(tensor)) &&
         !kept_.contains(storage_of(tensor));
}

at::Tensor HostTensors::promote(const at::Tensor& tensor) {
  const auto made = made_.extract(storage_of(tensor));
  const auto count = static_cast<int64_t>(made.mapped().nbytes()) / static_cast<int64_t>(tensor.element_size());
  at::Tensor all = at::empty({0}, tensor.options().requires_grad(false));
  all.set_(made.mapped(), 0, {count}, {1});
  const at::Tensor twin = wrap(recording_.ghost_of_constant(all));
  known_[storage_of(tensor)].push_back({text_of(tensor), all, twin, /*is_own=*/false});
  tensor.storage().unsafeGetStorageImpl()->release_data_and_set_meta_custom_data_ptr_error_msg_(
      "its storage is not allocated: it takes values that are captured");
  return resolve(tensor, false);
}

bool HostTensors::is_external(const at::Tensor& twin) const {
  return std::any_of(externals_.begin(), externals_.end(),
                     [&](const auto& entry) { return entry.twin.is_same(twin); });
}

void HostTensors::check_externals() const {
  for (const External& external : externals_)
    if (ghost_id(unwrap(external.twin)) != external.before)
      refuse(cat(text_of(external.twin), " outside of the model"),
             "forward changes it (a counter, a running mean; the statistics of another module that is in "
             "training mode), which is not supported; register it in the model with register_buffer, or put the "
             "other module in eval() mode");
}

void HostTensors::leave() {
  known_.clear();
  made_.clear();
  kept_.clear();
  graph::Graph& graph = recording_.graph();
  for (External& external : std::exchange(externals_, {})) {
    const auto original = graph.externals.find(external.before);
    if (!external.borrowed.defined() || original->second.use_count() > 1) continue;
    graph.externals.erase(original);
    graph.constants.emplace(external.before, std::move(external.borrowed));
    for (graph::Input& input : graph.inputs)
      if (input.value == external.before) input.kind = graph::InputKind::kConstant;
  }
}

}  // namespace shoal::capture
