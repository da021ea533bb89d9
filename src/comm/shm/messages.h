// Messages between two ranks, through the ring from the one to the other. Each carries the group that it
// belongs to, so that those of different groups may be received in any order.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "comm/shm/waiting.h"

namespace shoal::comm {

class Messages {
 public:
  explicit Messages(Waiter&);

  void send(int to, uint64_t group, std::span<const std::byte> bytes);
  void recv(int from, uint64_t group, std::span<std::byte> bytes);

 private:
  struct Head {
    uint64_t group, bytes;
  };
  // Of one sender: bytes that were taken out of its ring before anybody asked for them, and whole messages that
  // came before the one that was asked for.
  struct Inbox {
    std::vector<std::byte> bytes;
    size_t taken = 0;
    std::deque<std::pair<uint64_t, std::vector<std::byte>>> others;

    size_t read(std::span<std::byte> into);
  };
  void check_size(int from, uint64_t got, size_t want);
  void push(int to, std::span<const std::byte> bytes);
  void pull(int from, std::span<std::byte> bytes);
  bool anything_sent() const;
  bool take_in();

  Waiter& waiter_;
  SharedMemory& memory_;
  const int rank_;
  std::vector<Inbox> inbox_;  // by sender
};

}  // namespace shoal::comm
