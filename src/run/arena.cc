#include "run/arena.h"

#include <algorithm>
#include <limits>
#include <map>
#include <new>
#include <utility>

#include "base/blocks.h"

namespace shoal::run {

Arena::~Arena() { give_region_back(); }

void Arena::give_region_back() noexcept {
  if (region_ != nullptr) device_.give_back(std::exchange(region_, nullptr), region_bytes_);
}

Arena::Scope::Scope(Arena& arena, const Placement& placement)
    : arena_(arena), outer_(arena.device_.serve(&arena)) {
  arena_.placement_ = &placement;
}
Arena::Scope::~Scope() {
  arena_.device_.serve(outer_);
  arena_.placement_ = nullptr;
}
Arena::Pause::Pause(kernels::Device& device) : device_(device), paused_(device.serve(nullptr)) {}
Arena::Pause::~Pause() { device_.serve(paused_); }

void Arena::begin() {
  is_running_ = true;
  cursor_ = 0;
  events_ = 0;
  diverged_ = false;
  if (mode_ == Mode::kRecord) entries_.clear();
}

void Arena::end() {
  is_running_ = false;
  placed_.clear();
  live_.clear();
  switch (mode_) {
    case Mode::kWarmUp:
      mode_ = Mode::kRecord;
      break;
    case Mode::kRecord:
      mode_ = plan() ? Mode::kReplay : Mode::kOff;
      break;
    case Mode::kReplay:
      if (diverged_ || cursor_ != entries_.size()) mode_ = ++divergences_ < 3 ? Mode::kRecord : Mode::kOff;
      break;
    case Mode::kOff:
      break;
  }
}

void Arena::mark_output(const void* data, size_t bytes, int output) {
  if (mode_ != Mode::kRecord) return;
  const auto entry = live_.find(data);
  if (entry != live_.end() && entries_[entry->second].bytes == bytes) entries_[entry->second].output = output;
}

c10::DataPtr Arena::allocate(size_t bytes) {
  if (mode_ == Mode::kRecord) {
    c10::DataPtr data = device_.allocate(bytes);
    live_[data.get()] = entries_.size();
    entries_.push_back({bytes, events_++, -1});
    return data;
  }
  if (mode_ != Mode::kReplay || diverged_) return device_.allocate(bytes);
  if (cursor_ == entries_.size() || entries_[cursor_].bytes != bytes) {
    diverged_ = true;
    return device_.allocate(bytes);
  }
  const Entry& entry = entries_[cursor_++];
  if (void* place = entry.output < 0 || !*placement_ ? nullptr : (*placement_)(entry.output)) {
    placed_.insert(place);
    return device_.lend(place);
  }
  return entry.offset < 0 ? device_.allocate(bytes) : device_.lend(region_ + entry.offset);
}

bool Arena::release(void* data) {
  if (placed_.contains(data)) return true;
  if (mode_ != Mode::kRecord) return false;
  const auto entry = live_.find(data);
  if (entry == live_.end()) return false;
  entries_[entry->second].died = events_++;
  live_.erase(entry);
  return false;
}

bool Arena::plan() noexcept try {
  const int64_t total = place_entries();
  give_region_back();
  constexpr int64_t kHugePage = 2 << 20;
  region_bytes_ = static_cast<size_t>((total + kHugePage - 1) / kHugePage * kHugePage);
  if (region_bytes_ > 0) {
    region_ = device_.reserve(region_bytes_);
    if (region_ == nullptr) {
      region_bytes_ = 0;
      return false;
    }
  }
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

int64_t Arena::place_entries() {
  constexpr size_t kMany = 20000;
  return entries_.size() > kMany ? place_by_time() : place_by_size();
}

// By size, largest first, each at the lowest offset where no entry alive at the same time lies. Quadratic.
int64_t Arena::place_by_size() {
  std::vector<size_t> order;
  for (size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].died >= 0 && entries_[i].bytes > 0) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return entries_[a].bytes > entries_[b].bytes; });
  struct Placed {
    int64_t begin, end, born, died;
  };
  std::vector<Placed> placed;  // by begin; a graph has tens of thousands, so what is scanned lies together
  int64_t total = 0;
  for (size_t index : order) {
    Entry& entry = entries_[index];
    const int64_t bytes = align_up(static_cast<int64_t>(entry.bytes));
    int64_t offset = 0;
    for (const Placed& other : placed) {
      if (other.born >= entry.died || entry.born >= other.died) continue;
      if (offset + bytes <= other.begin) break;
      offset = std::max(offset, other.end);
    }
    entry.offset = offset;
    total = std::max(total, offset + bytes);
    placed.insert(std::ranges::upper_bound(placed, offset, {}, &Placed::begin),
                  {offset, offset + bytes, entry.born, entry.died});
  }
  return total;
}

// As an allocator would: in the order of events, each at the lowest free offset that has room.
int64_t Arena::place_by_time() {
  std::vector<std::pair<int64_t, size_t>> events;
  for (size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].died >= 0 && entries_[i].bytes > 0) {
      events.emplace_back(entries_[i].born, i);
      events.emplace_back(entries_[i].died, i);
    }
  std::ranges::sort(events);
  std::map<int64_t, int64_t> free = {{0, std::numeric_limits<int64_t>::max() / 2}};  // offset to length
  int64_t total = 0;
  for (const auto& [when, index] : events) {
    Entry& entry = entries_[index];
    const int64_t bytes = align_up(static_cast<int64_t>(entry.bytes));
    if (when == entry.born) {
      const auto gap = std::ranges::find_if(free, [&](const auto& each) { return each.second >= bytes; });
      entry.offset = gap->first;
      total = std::max(total, entry.offset + bytes);
      if (gap->second > bytes) free[gap->first + bytes] = gap->second - bytes;
      free.erase(gap);
      continue;
    }
    auto gap = free.emplace(entry.offset, bytes).first;
    if (const auto next = std::next(gap); next != free.end() && gap->first + gap->second == next->first) {
      gap->second += next->second;
      free.erase(next);
    }
    if (gap == free.begin()) continue;
    if (const auto before = std::prev(gap); before->first + before->second == gap->first) {
      before->second += gap->second;
      free.erase(gap);
    }
  }
  return total;
}

}  // namespace shoal::run
