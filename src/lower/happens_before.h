// Which things certainly happen before which, on devices that wait for each other: vector clocks (Mattern 1989)
// and the race test of FastTrack (Flanagan and Freund 2009), for windows that one device writes and others read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "lower/program.h"

namespace shoal::lower {

class HappensBefore {
 public:
  explicit HappensBefore(size_t num_ranks)
      : clocks_(num_ranks, std::vector<int64_t>(num_ranks, 0)), posted_(num_ranks) {}

  /// A device goes on to its next instruction.
  void tick(int rank) { ++clock(rank)[static_cast<size_t>(rank)]; }

  // --- Waiting ---
  struct Event {
    enum class Kind { kMeet, kBegun, kSummed, kSent, kReleased };
    Kind kind;
    int group;
    int64_t number;  // of the same kind and group; small, since there is a place for each
  };
  /// A device has come to an event, and says what it brings; whoever waits for it knows all that it did before.
  void post(int rank, const Event&, int64_t brings);
  /// False: `of` has not come to the event yet.
  bool await(int rank, int of, const Event&);
  /// What the device, which has come to it, brought.
  int64_t brought(int rank, const Event& event) const { return find(rank, event)->brings; }

  // --- Shared memory ---
  /// A part of a buffer of one device.
  struct Cell {
    int rank;
    Buffer::Kind kind;
    int number;
    int part;
    friend auto operator<=>(const Cell&, const Cell&) = default;
  };
  /// The device writes there. Returns a peer that may not have read yet what it writes over.
  std::optional<int> write(const Cell&);
  /// A device reads there. False: the write before it may come later.
  bool read(int rank, const Cell&);

 private:
  std::vector<int64_t>& clock(int rank) { return clocks_[static_cast<size_t>(rank)]; }
  struct Posted {
    std::vector<int64_t> clock;  // empty: not yet
    int64_t brings = -1;
  };
  const Posted* find(int rank, const Event&) const;
  struct Uses {
    int64_t written = 0;          // the writer's time
    std::map<int, int64_t> read;  // the readers' times
  };
  std::vector<std::vector<int64_t>> clocks_;  // by rank: what it knows of each rank's time
  std::vector<std::map<std::pair<Event::Kind, int>, std::vector<Posted>>> posted_;  // by rank, kind and group, number
  std::map<Cell, Uses> cells_;
};

}  // namespace shoal::lower
