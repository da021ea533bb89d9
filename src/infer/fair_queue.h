// Requests that wait: clients take turns, and each client's oldest goes first.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "infer/sequence.h"

namespace shoal::infer {

/// Holds no sequence; who queues one keeps it until it has left. Belongs to one thread.
class FairQueue {
 public:
  void add(Sequence&);
  /// Whose turn it is, or null where nobody waits. It stays; take() removes it.
  Sequence* next() const;
  /// Removes a waiting one, because its turn has come: then it is the next client's.
  void take(Sequence&);
  /// Removes it, if it waits; turns stay as they are.
  bool remove(const Sequence&);
  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  std::map<std::string, std::map<uint64_t, Sequence*>> clients_;  // of each, by arrival
  std::string last_;                                              // client that had its turn
  int64_t size_ = 0;
};

}  // namespace shoal::infer
