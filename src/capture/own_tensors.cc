#include "capture/own_tensors.h"

#include "base/text.h"
#include "capture/ghost.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

// Held alone while numbers of modules cannot be read.
std::shared_mutex& modules_in_use() {
  static std::shared_mutex mutex;
  return mutex;
}

}  // namespace

std::shared_lock<std::shared_mutex> reading_modules() { return std::shared_lock(modules_in_use()); }

OwnTensors::OwnTensors(const NamedTensors& tensors) : alone_(modules_in_use()) {
  for (const auto* list : {&tensors.parameters, &tensors.buffers})
    for (const NamedTensor& named : *list) {
      if (!named.tensor.has_storage()) continue;
      const char* const kind = list == &tensors.parameters ? "parameter " : "buffer ";
      Own& own = all_.emplace_back(Own{cat(kind, named.name), named.tensor, {}, named.tensor.storage()});
      c10::StorageImpl& storage = *own.storage.unsafeGetStorageImpl();
      if (!is_on_host(named.tensor) || storage._mutable_data_ptr_no_checks().get() == nullptr) continue;
      own.before = named.tensor.variable_data();
      storage.release_data_and_set_meta_custom_data_ptr_error_msg_(
          "its storage is not allocated: its numbers are not those of the run");
    }
}

OwnTensors::~OwnTensors() {
  for (Own& own : all_) {
    if (own.before.defined()) own.storage.unsafeGetStorageImpl()->clear_data_ptr_access_error_msg_();
    if (is_changed(own) && own.before.defined())
      own.tensor.unsafeGetTensorImpl()->shallow_copy_from(own.before.getIntrusivePtr());
  }
}

void OwnTensors::check() const {
  for (const Own& own : all_)
    if (is_changed(own))
      throw InputError(cat("capture - ", own.name,
                           ": forward gives it other data (set_data), which is not supported; compute a new "
                           "tensor and use that"));
}

bool OwnTensors::is_changed(const Own& own) {
  return !own.tensor.has_storage() ||
         own.tensor.storage().unsafeGetStorageImpl() != own.storage.unsafeGetStorageImpl() ||
         (own.before.defined() && own.tensor.sizes() != own.before.sizes());
}

}  // namespace shoal::capture
