#include "lower/happens_before.h"

#include <algorithm>

namespace shoal::lower {

void HappensBefore::post(int rank, const Event& event, int64_t brings) {
  events_[{rank, event}] = {clock(rank), brings};
  tick(rank);
}

bool HappensBefore::await(int rank, int of, const Event& event) {
  const auto found = events_.find({of, event});
  if (found == events_.end()) return false;
  for (size_t r = 0; r < clocks_.size(); ++r) clock(rank)[r] = std::max(clock(rank)[r], found->second.clock[r]);
  return true;
}

std::optional<int> HappensBefore::write(const Cell& cell) {
  Uses& uses = cells_[cell];
  for (const auto& [reader, time] : uses.read)
    if (reader != cell.rank && clock(cell.rank)[static_cast<size_t>(reader)] < time) return reader;
  uses.written = clock(cell.rank)[static_cast<size_t>(cell.rank)];
  uses.read.clear();
  return std::nullopt;
}

bool HappensBefore::read(int rank, const Cell& cell) {
  Uses& uses = cells_[cell];
  if (rank != cell.rank && clock(rank)[static_cast<size_t>(cell.rank)] < uses.written) return false;
  uses.read[rank] = clock(rank)[static_cast<size_t>(rank)];
  return true;
}

}  // namespace shoal::lower
