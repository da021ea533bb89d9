#include "lower/happens_before.h"

#include <algorithm>

namespace shoal::lower {

void HappensBefore::post(int rank, const Event& event, int64_t brings) {
  std::vector<Posted>& all = posted_[static_cast<size_t>(rank)][{event.kind, event.group}];
  const auto number = static_cast<size_t>(event.number);
  if (all.size() <= number) all.resize(number + 1);
  all[number] = {clock(rank), brings};
  tick(rank);
}

const HappensBefore::Posted* HappensBefore::find(int rank, const Event& event) const {
  const auto& all = posted_[static_cast<size_t>(rank)];
  const auto found = all.find({event.kind, event.group});
  const auto number = static_cast<size_t>(event.number);
  if (found == all.end() || found->second.size() <= number || found->second[number].clock.empty()) return nullptr;
  return &found->second[number];
}

bool HappensBefore::await(int rank, int of, const Event& event) {
  const Posted* const found = find(of, event);
  if (found == nullptr) return false;
  const std::vector<int64_t>& posted = found->clock;
  std::vector<int64_t>& mine = clock(rank);
  // Who knows a device at a time knows all that it knew then.
  if (mine[static_cast<size_t>(of)] >= posted[static_cast<size_t>(of)]) return true;
  for (size_t r = 0; r < mine.size(); ++r) mine[r] = std::max(mine[r], posted[r]);
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
