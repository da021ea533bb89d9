// A group's link over shared memory: counters that its members write and read in place.
#pragma once

#include <vector>

#include "comm/shm/groups.h"
#include "comm/shm/heap.h"
#include "comm/shm/messages.h"
#include "comm/shm/waiting.h"

namespace shoal::comm {

class ShmLink : public Link, public Barrier {
 public:
  /// Refers to all of them, which are its communicator's. `id`: as GroupHold.
  ShmLink(Waiter&, Messages&, Heap&, uint64_t id, std::vector<int> ranks);

  void arrive() override;
  void pass() override;
  std::shared_ptr<Window> window(size_t bytes) override;
  void send(int to, std::span<const std::byte> bytes) override;
  void recv(int from, std::span<std::byte> bytes) override;
  uint64_t post() override;
  void await(int member, uint64_t count) override;

  std::vector<int> late() const override;

 private:
  int rank_of(int member) const { return ranks_[static_cast<size_t>(member)]; }

  Waiter& waiter_;
  Messages& messages_;
  Heap& heap_;
  SharedMemory& memory_;
  const uint64_t id_;
  const std::vector<int> ranks_;
  const int me_;
  const GroupHold state_;
  uint64_t barriers_ = 0;
  size_t windows_ = 0;
};

}  // namespace shoal::comm
