#include "capture/host_tensors.h"

#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/text.h"
#include "capture/recorder.h"
#include "capture/shared_memory.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

const c10::StorageImpl* storage_of(const at::Tensor& tensor) { return SharedMemory::storage_of(tensor); }

bool has_host_memory(const at::Tensor& tensor) {
  return is_on_host(tensor) && tensor.has_storage() && !ghost_beneath(tensor).defined();
}

// As from_blob makes it, on memory of the caller's.
bool is_borrowed(const at::Tensor& tensor) {
  const c10::DataPtr& data = tensor.storage().unsafeGetStorageImpl()->_mutable_data_ptr_no_checks();
  return data.get() != nullptr && data.get_context() == nullptr;
}

[[noreturn]] void refuse_change_of_kept(const at::Tensor& tensor) {
  refuse(text_of(tensor), "forward keeps it from call to call and changes it, which is not supported; register it "
                          "with register_buffer");
}

}  // namespace

void HostTensors::add_own(const at::Tensor& original) {
  if (const at::Tensor ghost = ghost_beneath(original); ghost.defined()) constructor_ = ghost_origin(ghost);
}

at::Tensor HostTensors::resolve(const at::Tensor& tensor, bool is_written) {
  if (const at::Tensor ghost = ghost_beneath(tensor); ghost.defined())
    return ghost_origin(ghost) == recording_.origin() ? tensor : resolve_ghost(tensor, ghost, is_written);
  if (!has_host_memory(tensor) || tensor.unsafeGetTensorImpl()->is_wrapped_number()) return tensor;
  if (at::functionalization::impl::isFunctionalTensor(tensor)) {
    if (is_written && !made_.contains(storage_of(tensor))) refuse_change_of_kept(tensor);
    return tensor;
  }
  if (const at::Tensor view = recording_.shared_.view(tensor); view.defined()) return view;
  if (is_written && kept_.contains(storage_of(tensor))) refuse_change_of_kept(tensor);
  if (made_.contains(storage_of(tensor)) || tensor.numel() == 0) return tensor;
  if (is_borrowed(tensor)) {
    if (is_written)
      refuse(text_of(tensor), "it lies in memory that LibTorch does not own (from_blob), and forward changes it; "
                              "change a clone() of it");
    return tensor;
  }
  if (tensor.requires_grad() && !tensor.is_leaf()) {
    if (!tensor.is_view())
      refuse(text_of(tensor), "it was computed before forward was called, from what requires a gradient (it has a "
                              "grad_fn), and would stay as it is; compute it in forward, or detach() it");
    add_external(at::Tensor(tensor._base()));
    return recording_.shared_.view(tensor);
  }
  return add_external(tensor);
}

at::Tensor HostTensors::resolve_ghost(const at::Tensor& tensor, const at::Tensor& ghost, bool is_written) {
  if (const at::Tensor view = recording_.shared_.view(tensor); view.defined()) return view;
  const std::shared_ptr<Origin>& origin = ghost_origin(ghost);
  if (const at::Tensor kept = origin->kept(ghost_id(ghost)); kept.defined()) {
    if (is_written) refuse_change_of_kept(tensor);
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
  const at::Tensor twin = recording_.add_input(graph::InputKind::kExternal, cat("x", externals_.size()),
                                               graph::type_of(tensor));
  const graph::ValueId id = ghost_id(ghost_beneath(twin));
  recording_.graph().externals.emplace(id, tensor);
  if (!has_host_memory(tensor) || tensor.storage().unsafeGetStorageImpl()->_mutable_data_ptr_no_checks().get() == nullptr)
    recording_.known_values_.set_unknown(id);
  if (tensor.requires_grad()) twin.requires_grad_();
  recording_.substitute(cat(text_of(tensor), " outside of the model"), tensor, twin, /*is_own=*/false);
  externals_.push_back({twin, id});
  return twin;
}

void HostTensors::note_made(const at::Tensor& tensor) {
  if (!tensor.defined() || !has_host_memory(tensor) || tensor.unsafeGetTensorImpl()->is_wrapped_number()) return;
  if (!recording_.shared_.contains(tensor)) made_.emplace(storage_of(tensor), tensor.storage());
}

bool HostTensors::is_made(const at::Tensor& tensor) const {
  return has_host_memory(tensor) && made_.contains(storage_of(tensor)) && !kept_.contains(storage_of(tensor));
}

at::Tensor HostTensors::promote(const at::Tensor& tensor) {
  if (at::functionalization::impl::isFunctionalTensor(tensor)) {
    at::functionalization::impl::replace_(tensor, recording_.ghost_of_constant(unwrap(tensor)));
    return tensor;
  }
  if (!made_.contains(storage_of(tensor))) return tensor;
  const auto made = made_.extract(storage_of(tensor));
  const auto count = static_cast<int64_t>(made.mapped().nbytes()) / static_cast<int64_t>(tensor.element_size());
  at::Tensor all;
  {
    const c10::impl::ExcludeDispatchKeyGuard real(c10::DispatchKey::Functionalize);
    all = at::empty({0}, tensor.options().requires_grad(false));
    all.set_(made.mapped(), 0, {count}, {1});
  }
  const at::Tensor twin = wrap(recording_.ghost_of_constant(all));
  recording_.shared_.add(text_of(tensor), all, twin, /*is_own=*/false);
  tensor.storage().unsafeGetStorageImpl()->release_data_and_set_meta_custom_data_ptr_error_msg_(
      "its storage is not allocated: it takes values that are captured");
  return recording_.shared_.view(tensor);
}

bool HostTensors::is_external(const at::Tensor& twin) const {
  return std::any_of(externals_.begin(), externals_.end(),
                     [&](const External& external) { return external.twin.is_same(twin); });
}

void HostTensors::check_externals() const {
  for (const External& external : externals_)
    if (ghost_id(unwrap(external.twin)) != external.before)
      refuse(cat(text_of(external.twin), " outside of the model"),
             "forward changes it (a counter, a running mean; the statistics of another module that is in "
             "training mode), which is not supported; register it in the model with register_buffer, or put the "
             "other module in eval() mode");
}

bool HostTensors::is_live(const at::Tensor& tensor) const {
  return has_host_memory(tensor) && !at::functionalization::impl::isFunctionalTensor(tensor) && !tensor.unsafeGetTensorImpl()->is_wrapped_number() &&
         !made_.contains(storage_of(tensor)) && tensor.numel() > 0 && !is_borrowed(tensor);
}

void HostTensors::leave() {
  externals_.clear();
  made_.clear();
  kept_.clear();
}

}  // namespace shoal::capture
