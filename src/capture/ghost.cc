#include "capture/ghost.h"

#include <ATen/EmptyTensor.h>
#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <mutex>

#include "kernels/cpu/host.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

// The engine treats PrivateUse1 as an accelerator, so streams and events must exist; they do nothing.
struct GhostGuard : c10::impl::NoOpDeviceGuardImpl<kGhostDevice> {
  static c10::Device ghost() { return {kGhostDevice, 0}; }
  c10::Device exchangeDevice(c10::Device) const override { return ghost(); }
  c10::Device getDevice() const override { return ghost(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, ghost());
  }
  c10::Stream getNewStream(c10::Device, int) const override { return getStream(ghost()); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    *event = const_cast<GhostGuard*>(this);
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  void synchronizeEvent(void*) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, GhostGuard)

// torch::manual_seed asks the device for its generators, too: so we learn of one in the model's own code,
// where it would have no effect. Elsewhere it is none of our business: we have no generator.
struct GhostHooks : at::PrivateUse1HooksInterface {
  c10::DeviceIndex deviceCount() const override {
    return c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::DeferredInit) ? 1 : 0;
  }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    throw InputError(
        "capture - torch::manual_seed: it is called by the model, where it has no effect; leave it out: "
        "random numbers follow from TrainerOptions::seed");
  }
  void init() const override {}
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
};

// Rides along through shallow copies, detach and set_data.
struct ValueMeta : c10::BackendMeta {
  ValueMeta(graph::ValueId value, std::shared_ptr<Origin> maker) : id(value), origin(std::move(maker)) {}
  const graph::ValueId id;
  const std::shared_ptr<Origin> origin;
};

const ValueMeta& meta_of(const at::Tensor& ghost) {
  const auto meta = ghost.unsafeGetTensorImpl()->get_backend_meta_intrusive_ptr();
  TORCH_INTERNAL_ASSERT(meta, "a ghost tensor without a value");
  return *static_cast<const ValueMeta*>(meta.get());
}

}  // namespace

void register_ghost_device() {
  static std::once_flag once;
  std::call_once(once, [] {
    c10::register_privateuse1_backend("shoal");
    static GhostHooks hooks;
    at::RegisterPrivateUse1HooksInterface(&hooks);
  });
}

void Origin::set_numbers(std::function<at::Tensor(graph::ValueId)> numbers) {
  const std::lock_guard lock(mutex_);
  numbers_ = std::move(numbers);
}

at::Tensor Origin::kept(graph::ValueId id) const {
  const std::lock_guard lock(mutex_);
  return numbers_ ? numbers_(id) : at::Tensor();
}

at::Tensor make_ghost(const graph::TensorType& type, graph::ValueId id, std::shared_ptr<Origin> origin) {
  const size_t bytes =
      at::detail::computeStorageNbytes(type.shape, type.strides, c10::elementSize(type.dtype));
  c10::Storage storage(c10::Storage::use_byte_size_t(), bytes, c10::DataPtr(nullptr, {kGhostDevice, 0}),
                       nullptr, /*resizable=*/false);
  at::Tensor ghost = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
      c10::scalarTypeToTypeMeta(type.dtype));
  ghost.unsafeGetTensorImpl()->set_sizes_and_strides(type.shape, type.strides);
  ghost.unsafeGetTensorImpl()->set_backend_meta(c10::make_intrusive<ValueMeta>(id, std::move(origin)));
  return ghost;
}

bool is_ghost(const at::Tensor& tensor) { return tensor.defined() && tensor.device().type() == kGhostDevice; }

bool is_on_host(const at::Tensor& tensor) {
  return tensor.device().type() == kernels::kHost && tensor.layout() == at::kStrided;
}

graph::ValueId ghost_id(const at::Tensor& ghost) { return meta_of(ghost).id; }
const std::shared_ptr<Origin>& ghost_origin(const at::Tensor& ghost) { return meta_of(ghost).origin; }

bool is_wrapper(const at::Tensor& tensor) {
  return at::functionalization::impl::isFunctionalTensor(tensor) &&
         dynamic_cast<const at::FunctionalTensorWrapper*>(tensor.unsafeGetTensorImpl()) != nullptr;
}

at::Tensor ghost_beneath(const at::Tensor& tensor) {
  const at::Tensor plain = is_wrapper(tensor)
                               ? at::functionalization::impl::from_functional_tensor(tensor)
                               : tensor;
  return is_ghost(plain) ? plain : at::Tensor();
}

at::Tensor unwrap(const at::Tensor& tensor) {
  if (!at::functionalization::impl::isFunctionalTensor(tensor)) return tensor;
  at::functionalization::impl::sync(tensor);
  return at::functionalization::impl::from_functional_tensor(tensor);
}

at::Tensor wrap(const at::Tensor& ghost) { return at::functionalization::impl::to_functional_tensor(ghost); }

}  // namespace shoal::capture
