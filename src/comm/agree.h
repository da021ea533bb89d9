// Agreement: before a collective call does anything, its ranks make sure that they are all in the same call
// and bring the same things to it. What differs is named, in the same words, on every rank.
//
// When all is equal it costs one barrier and a hash of each rank; the facts themselves are exchanged only to
// say what differs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"
#include "shoal/error.h"

namespace shoal::comm {

/// A thing that every rank must have alike.
struct Fact {
  std::string name;   // "optimizer.lr"
  std::string value;  // "0.01". One line: both values are told. Several: the first line that differs
  std::string advice = "every device must run the same program";  // what to do when it differs
  bool is_hash = false;                                           // the value says nothing to a reader
};

/// What one rank says: "I am in `call`, and have these".
struct Statement {
  std::string place;  // of the sentence: "trainer - step 3"
  std::string call;   // "save"
  std::vector<Fact> facts;
};

/// Some rank stated something else. Thrown by every rank alike, with the same sentence, and after all of them
/// have read what they need: the job could go on.
class Disagreement : public InputError {
 public:
  using InputError::InputError;
};

/// Belongs to its communicator's thread.
class Agreement {
 public:
  /// Makes a group of all ranks for itself. The communicator must outlive it.
  explicit Agreement(Communicator& communicator) : group_(communicator) {}

  /// Collective: what every call that ranks make together begins with, whatever call it is, so that those in
  /// unlike calls meet here. The first fact that differs is told, in the order of rank 0's: "trainer - step
  /// 3: rank 1 has optimizer.lr 0.01, rank 0 has 0.001; every device must run the same program". Throws
  /// Disagreement. What a rank wrote before is visible to all after.
  void agree(const Statement& mine);

  /// 1, 2, ...: for those who speak here, to be told apart. The same on every rank when all make them in the
  /// same order.
  int next_number() { return ++numbers_; }

 private:
  Group group_;
  std::shared_ptr<Window> window_;  // made by the first agreement: two places for a hash, used in turn
  uint64_t turn_ = 0;
  int numbers_ = 0;
};

}  // namespace shoal::comm
