#include "session/lent_storage.h"

#include <c10/core/Allocator.h>

namespace shoal::session {
namespace {

c10::StorageImpl& storage_of(const at::Tensor& tensor) {
  return *tensor.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl();
}

void let_go(void* context) { delete static_cast<std::shared_ptr<Lender>*>(context); }

c10::DataPtr pointer(void* data, const std::shared_ptr<Lender>& lender, c10::Device device) {
  return {data, new std::shared_ptr<Lender>(lender), &let_go, device};
}

}  // namespace

bool covers_storage(const at::Tensor& tensor) {
  return tensor.has_storage() && tensor.is_contiguous() && tensor.storage_offset() == 0 &&
         tensor.numel() > 0 && tensor.nbytes() == storage_of(tensor).nbytes();
}

void lend(const at::Tensor& tensor, void* data, const std::shared_ptr<Lender>& lender) {
  storage_of(tensor).clear_data_ptr_access_error_msg_();
  storage_of(tensor).set_data_ptr(pointer(data, lender, tensor.device()));
}

void withhold(const at::Tensor& tensor, const std::string& sentence, const std::shared_ptr<Lender>& lender) {
  storage_of(tensor).set_data_ptr(pointer(nullptr, lender, tensor.device()));
  storage_of(tensor).release_data_and_set_meta_custom_data_ptr_error_msg_(sentence);
}

void give_memory(const at::Tensor& tensor) {
  c10::StorageImpl& storage = storage_of(tensor);
  storage.clear_data_ptr_access_error_msg_();
  storage.set_data_ptr(c10::GetAllocator(tensor.device().type())->allocate(storage.nbytes()));
}

std::shared_ptr<Lender> lender_of(const at::Tensor& tensor) {
  if (!tensor.has_storage()) return nullptr;
  const c10::DataPtr& data = storage_of(tensor)._mutable_data_ptr_no_checks();
  if (data.get_deleter() != &let_go) return nullptr;
  return *static_cast<std::shared_ptr<Lender>*>(data.get_context());
}

const void* address_of(const at::Tensor& tensor) {
  return tensor.has_storage() ? storage_of(tensor)._mutable_data_ptr_no_checks().get() : nullptr;
}

}  // namespace shoal::session
