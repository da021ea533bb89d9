#include "comm/shm/link.h"

#include <algorithm>

namespace shoal::comm {

ShmLink::ShmLink(Waiter& waiter, Messages& messages, Heap& heap, uint64_t id, std::vector<int> ranks)
    : waiter_(waiter),
      messages_(messages),
      heap_(heap),
      memory_(waiter.memory()),
      id_(id),
      ranks_(std::move(ranks)),
      me_(static_cast<int>(std::ranges::find(ranks_, waiter.rank()) - ranks_.begin())),
      state_(waiter.shared_memory(), id, waiter.rank(), ranks_.size()) {}

void ShmLink::arrive() {
  waiter_.check_failure();
  const uint64_t mine = ++barriers_;
  state_->members[me_].barriers.store(mine);
  if (state_->arrived.fetch_add(1) + 1 < ranks_.size()) return;
  state_->arrived.store(0);
  state_->generation.store(mine);
  for (const int rank : ranks_) memory_.wake(rank);
}

void ShmLink::pass() {
  const auto complete = [&] { return state_->generation.load() >= barriers_; };
  if (complete()) return;
  waiter_.wait_in(*this, complete);
}

std::vector<int> ShmLink::late() const {
  // The count that others see, not barriers_: this may be another thread.
  const uint64_t mine = state_->members[me_].barriers.load();
  std::vector<int> late;
  for (size_t member = 0; member < ranks_.size(); ++member)
    if (state_->members[member].barriers.load() < mine) late.push_back(ranks_[member]);
  return late;
}

std::shared_ptr<Window> ShmLink::window(size_t bytes) {
  // Two offers in turn: before a member writes one again, every member has passed the barrier of the window
  // between, so has read it.
  const size_t turn = windows_++ % 2;
  const Block block = heap_.allocate(bytes, static_cast<int>(ranks_.size()));
  GroupState::Member::Offer& offer = state_->members[me_].offers[turn];
  offer.offset.store(block.offset), offer.bytes.store(block.bytes), offer.slot.store(block.slot);
  arrive();
  pass();
  std::vector<Block> blocks;
  for (size_t member = 0; member < ranks_.size(); ++member) {
    const GroupState::Member::Offer& theirs = state_->members[member].offers[turn];
    blocks.push_back({ranks_[member], theirs.offset.load(), theirs.bytes.load(), theirs.slot.load()});
  }
  return std::make_shared<ShmWindow>(waiter_.shared_memory(), me_, std::move(blocks));
}

void ShmLink::send(int to, std::span<const std::byte> bytes) { messages_.send(rank_of(to), id_, bytes); }
void ShmLink::recv(int from, std::span<std::byte> bytes) { messages_.recv(rank_of(from), id_, bytes); }

uint64_t ShmLink::post() {
  waiter_.check_failure();
  std::atomic<uint64_t>& posts = state_->members[me_].posts;
  const uint64_t count = posts.load(std::memory_order_relaxed) + 1;
  posts.store(count);
  // A rank that is not yet asleep, or not for this, looks at the count again once it is.
  for (const int rank : ranks_)
    if (const RankState& peer = memory_.state(rank); peer.asleep.load() != 0 &&
                                                     peer.waits.load() == WaitKind::kSignal &&
                                                     peer.waits_for.load() == waiter_.rank())
      memory_.wake(rank);
  return count;
}

void ShmLink::await(int member, uint64_t count) {
  const std::atomic<uint64_t>& posts = state_->members[member].posts;
  if (member == me_) check_own_count(waiter_.rank(), posts.load(), count);
  waiter_.check_failure();
  const auto reached = [&] { return posts.load() >= count; };
  if (!reached()) waiter_.wait_for(WaitKind::kSignal, rank_of(member), reached);
}

}  // namespace shoal::comm
