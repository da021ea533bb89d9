#include "comm/shm/messages.h"

#include <algorithm>

#include "base/text.h"

namespace shoal::comm {

Messages::Messages(Waiter& waiter)
    : waiter_(waiter),
      memory_(waiter.memory()),
      rank_(waiter.rank()),
      inbox_(static_cast<size_t>(memory_.ranks())) {}

size_t Messages::Inbox::read(std::span<std::byte> into) {
  const size_t count = std::min(into.size(), bytes.size() - taken);
  std::copy_n(bytes.data() + taken, count, into.data());
  taken += count;
  if (taken == bytes.size()) bytes.clear(), taken = 0;
  return count;
}

void Messages::send(int to, uint64_t group, std::span<const std::byte> bytes) {
  waiter_.check_failure();
  const Head head{group, bytes.size()};
  push(to, std::as_bytes(std::span(&head, 1)));
  push(to, bytes);
}

void Messages::recv(int from, uint64_t group, std::span<std::byte> bytes) {
  waiter_.check_failure();
  auto& others = inbox_[static_cast<size_t>(from)].others;
  const auto kept = std::ranges::find(others, group, &std::pair<uint64_t, std::vector<std::byte>>::first);
  if (kept != others.end()) {
    check_size(from, kept->second.size(), bytes.size());
    std::ranges::copy(kept->second, bytes.begin());
    others.erase(kept);
    return;
  }
  for (;;) {
    Head head;
    pull(from, std::as_writable_bytes(std::span(&head, 1)));
    if (head.group == group) {
      check_size(from, head.bytes, bytes.size());
      return pull(from, bytes);
    }
    std::vector<std::byte> other(head.bytes);
    pull(from, other);
    others.emplace_back(head.group, std::move(other));
  }
}

void Messages::check_size(int from, uint64_t got, size_t want) {
  if (got == want) return;
  memory_.fail(rank_, cat("recv from rank ", from, ": got ", got, " bytes, want ", want));
  waiter_.check_failure();
}

void Messages::push(int to, std::span<const std::byte> bytes) {
  Ring& ring = memory_.ring(rank_, to);
  while (!bytes.empty()) {
    if (const size_t written = ring.write(bytes); written > 0) {
      memory_.wake(to);
      bytes = bytes.subspan(written);
    } else if (!take_in()) {
      waiter_.wait_for(WaitKind::kSend, to, [&] { return ring.room() > 0 || anything_sent(); });
    }
  }
}

void Messages::pull(int from, std::span<std::byte> bytes) {
  Ring& ring = memory_.ring(from, rank_);
  bytes = bytes.subspan(inbox_[static_cast<size_t>(from)].read(bytes));
  while (!bytes.empty()) {
    if (const size_t count = ring.read(bytes); count > 0) {
      memory_.wake(from);
      bytes = bytes.subspan(count);
    } else {
      waiter_.wait_for(WaitKind::kRecv, from, [&] { return ring.filled() > 0; });
    }
  }
}

bool Messages::anything_sent() const {
  for (int from = 0; from < memory_.ranks(); ++from)
    if (memory_.ring(from, rank_).filled() > 0) return true;
  return false;
}

// A sender that must wait empties the rings to it, so that two that send to each other both get on.
bool Messages::take_in() {
  bool any = false;
  for (int from = 0; from < memory_.ranks(); ++from) {
    Ring& ring = memory_.ring(from, rank_);
    const size_t count = ring.filled();
    if (count == 0) continue;
    std::vector<std::byte>& bytes = inbox_[static_cast<size_t>(from)].bytes;
    const size_t before = bytes.size();
    bytes.resize(before + count);
    ring.read(std::span(bytes).subspan(before));
    memory_.wake(from);
    any = true;
  }
  return any;
}

}  // namespace shoal::comm
