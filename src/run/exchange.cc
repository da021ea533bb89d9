#include "run/exchange.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::run {

Exchanger::Exchanger(comm::Communicator& communicator, std::vector<int> group, int rank, int64_t half_bytes)
    : communicator_(communicator),
      group_(std::move(group)),
      rank_(rank),
      half_bytes_(half_bytes),
      window_(communicator.window(static_cast<size_t>(2 * half_bytes_))) {}

void Exchanger::begin(const lower::LocalGraph& local) {
  if (local.half_bytes > half_bytes_)
    throw InputError(cat("trainer - batch: with tp its devices would show each other ",
                         human_bytes(static_cast<uint64_t>(local.half_bytes)),
                         " at a time, and the first batch made room for ",
                         human_bytes(static_cast<uint64_t>(half_bytes_)), "; begin with the largest batch"));
  local_ = &local;
}

std::vector<at::Tensor> Exchanger::exchange(const std::vector<at::Tensor>& mine, size_t number) {
  const lower::Exchange& exchange = local_->exchanges.at(number);
  const int64_t half = static_cast<int64_t>(turn_++ % 2) * half_bytes_;
  const auto& shown = exchange.shown[static_cast<size_t>(rank_)];
  if (mine.size() != shown.size())
    throw JobError(cat("exchange ", number, " - values: got ", mine.size(), ", want ", shown.size()));
  for (size_t i = 0; i < mine.size(); ++i) {
    const at::Tensor dense = mine[i].contiguous();
    std::memcpy(window_->mine().data() + half + shown[i].offset, dense.const_data_ptr(), dense.nbytes());
  }
  const uint64_t count = communicator_.post(kChannel);
  std::vector<at::Tensor> theirs;
  for (size_t rank = 0; rank < group_.size(); ++rank) {
    if (static_cast<int>(rank) == rank_) continue;
    communicator_.await(group_[rank], kChannel, count);
    for (const lower::Exchange::Shown& value : exchange.shown[rank]) {
      const auto options = at::TensorOptions().dtype(value.type.dtype);
      const auto bytes = static_cast<size_t>(value.type.numel()) * c10::elementSize(value.type.dtype);
      const auto offset = static_cast<size_t>(half + value.offset);
      if (window_->in_place()) {
        const std::byte* data = window_->read(group_[rank], offset, bytes, {});
        // Read-only by contract: only operators that combine parts read it.
        theirs.push_back(at::from_blob(const_cast<std::byte*>(data), value.type.shape, options));
      } else {
        at::Tensor copy = at::empty(value.type.shape, options);
        const std::span<std::byte> scratch(static_cast<std::byte*>(copy.mutable_data_ptr()), bytes);
        const std::byte* data = window_->read(group_[rank], offset, bytes, scratch);
        if (data != scratch.data()) std::memcpy(scratch.data(), data, bytes);
        theirs.push_back(std::move(copy));
      }
    }
  }
  return theirs;
}

}  // namespace shoal::run
