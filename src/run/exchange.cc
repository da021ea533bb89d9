#include "run/exchange.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

using Shown = lower::Exchange::Shown;

// As the values of a device lie one after the other.
Range bytes_of(const Shown& value) { return {value.offset, value.offset + value.type.bytes()}; }

}  // namespace

Exchanger::Exchanger(comm::Group group, int64_t half_bytes, kernels::Device& device)
    : group_(std::move(group)),
      device_(device),
      half_bytes_(align_up(std::max(half_bytes, kLeastHalf))),
      window_(group_.window(static_cast<size_t>(2 * half_bytes_))) {}

template <class Read>
void Exchanger::turn(const std::vector<at::Tensor>& mine, const lower::Exchange& exchange, int64_t start,
                     Waits& waits, Read&& read) {
  const int64_t half = static_cast<int64_t>(turn_++ % 2) * half_bytes_;
  const auto& shown = exchange.shown[static_cast<size_t>(group_.rank())];
  for (size_t i = 0; i < mine.size(); ++i) {
    const Range part = intersect(bytes_of(shown[i]), {start, start + half_bytes_});
    if (part.empty()) continue;
    device_.copy(window_->mine().data() + half + part.begin - start,
                 static_cast<const std::byte*>(mine[i].const_data_ptr()) + part.begin - shown[i].offset,
                 static_cast<size_t>(part.size()));
  }
  group_.post();
  for (int member = 0; member < group_.size(); ++member) {
    if (member == group_.rank()) continue;
    waits.note(group_.world_rank(member), [&] { group_.await(member, turn_); });
    read(member, half);
  }
}

void Exchanger::agree(const std::string& place, const std::string& text) {
  using Text = std::array<char, kTextBytes>;
  Text mine{};
  text.copy(mine.data(), kTextBytes - 1);
  const int64_t half = static_cast<int64_t>(turn_++ % 2) * half_bytes_;
  std::memcpy(window_->mine().data() + half, mine.data(), kTextBytes);
  group_.post();
  for (int member = 0; member < group_.size(); ++member) {
    if (member == group_.rank()) continue;
    group_.await(member, turn_);
    Text theirs;
    const std::span<std::byte> room = std::as_writable_bytes(std::span(theirs));
    const std::byte* const data = window_->read(member, static_cast<size_t>(half), kTextBytes, room);
    if (data != room.data()) std::memcpy(theirs.data(), data, kTextBytes);
    if (theirs != mine)
      throw InputError(cat(place, ": rank ", group_.world_rank(member), " has ", theirs.data(), ", rank ",
                           group_.world_rank(group_.rank()), " has ", mine.data(),
                           "; devices that share a batch must be given the same one"));
  }
}

std::vector<at::Tensor> Exchanger::exchange(const std::vector<at::Tensor>& mine, size_t number, Waits& waits) {
  const lower::Exchange& exchange = local_->exchanges.at(number);
  const auto& shown = exchange.shown[static_cast<size_t>(group_.rank())];
  if (mine.size() != shown.size())
    throw JobError(cat("exchange ", number, " - values: got ", mine.size(), ", want ", shown.size()));
  std::vector<at::Tensor> dense;
  for (const at::Tensor& value : mine) dense.push_back(value.contiguous());
  int64_t bytes = 0;  // of the device that shows most
  for (const auto& values : exchange.shown)
    for (const Shown& value : values) bytes = std::max(bytes, bytes_of(value).end);

  std::vector<at::Tensor> theirs;
  if (bytes <= half_bytes_ && window_->in_place()) {
    turn(dense, exchange, 0, waits, [&](int member, int64_t half) {
      for (const Shown& value : exchange.shown[static_cast<size_t>(member)]) {
        const Range range = bytes_of(value);
        const std::byte* data = window_->read(member, static_cast<size_t>(half + range.begin),
                                              static_cast<size_t>(range.size()), {});
        // Read-only by contract: only operators that combine parts read it.
        theirs.push_back(device_.view(const_cast<std::byte*>(data), value.type.shape, value.type.dtype));
      }
    });
    return theirs;
  }
  std::vector<size_t> first(exchange.shown.size());  // of `theirs`, by device
  for (size_t member = 0; member < first.size(); ++member) {
    first[member] = theirs.size();
    if (static_cast<int>(member) == group_.rank()) continue;
    for (const Shown& value : exchange.shown[member])
      theirs.push_back(device_.empty(value.type.shape, value.type.dtype));
  }
  for (int64_t start = 0; start < bytes; start += half_bytes_)
    turn(dense, exchange, start, waits, [&](int member, int64_t half) {
      const auto& values = exchange.shown[static_cast<size_t>(member)];
      for (size_t i = 0; i < values.size(); ++i) {
        const Range whole = bytes_of(values[i]);
        const Range part = intersect(whole, {start, start + half_bytes_});
        if (part.empty()) continue;
        auto* value = static_cast<std::byte*>(theirs[first[static_cast<size_t>(member)] + i].mutable_data_ptr());
        const std::span<std::byte> to(value + part.begin - whole.begin, static_cast<size_t>(part.size()));
        const std::byte* data =
            window_->read(member, static_cast<size_t>(half + part.begin - start), to.size(), to);
        if (data != to.data()) device_.copy(to.data(), data, to.size());
      }
    });
  return theirs;
}

}  // namespace shoal::run
