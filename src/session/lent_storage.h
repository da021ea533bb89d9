// The memory of a module's tensor while a trainer keeps its numbers: lent by the trainer, or none.
//
// What is changed is the storage, so that views of the tensor and whoever else holds it see the same.
#pragma once

#include <ATen/core/TensorBody.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

namespace shoal::session {

/// A trainer, as the storages see it whose numbers it keeps.
struct Lender {
  std::thread::id thread;        // that the trainer belongs to
  std::shared_ptr<void> memory;  // what it lends lives as long as any storage that has it
  std::atomic<bool> alive = true;
};

/// Whether the tensor is all of its storage, in order: only then can memory be lent to it.
bool covers_storage(const at::Tensor&);

/// From here on the tensor's numbers are those at `data`, memory of its own device. REQUIRES: covers_storage.
void lend(const at::Tensor&, void* data, const std::shared_ptr<Lender>&);

/// Frees the tensor's memory: reading it throws a c10::Error with this sentence.
void withhold(const at::Tensor&, const std::string& sentence, const std::shared_ptr<Lender>&);

/// Memory of its own again, with any numbers.
void give_memory(const at::Tensor&);

/// Who lent or withholds the tensor's memory; null: nobody.
std::shared_ptr<Lender> lender_of(const at::Tensor&);

/// Where the tensor's numbers begin; null when they are withheld. Never throws.
const void* address_of(const at::Tensor&);

}  // namespace shoal::session
