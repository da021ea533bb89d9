#include "run/arena.h"

#include <c10/core/CPUAllocator.h>
#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "base/blocks.h"

namespace shoal::run {
namespace {

thread_local Arena* current = nullptr;

c10::Allocator& usual_allocator() { return *c10::GetDefaultCPUAllocator(); }

// The regions of all arenas: memory that is never freed piece by piece.
class Regions {
 public:
  void add(const std::byte* begin, size_t bytes) {
    const std::unique_lock lock(mutex_);
    ends_[begin] = begin + bytes;
  }
  void remove(const std::byte* begin) {
    const std::unique_lock lock(mutex_);
    ends_.erase(begin);
  }
  bool contains(const void* data) const {
    const std::shared_lock lock(mutex_);
    const auto after = ends_.upper_bound(static_cast<const std::byte*>(data));
    return after != ends_.begin() && data < std::prev(after)->second;
  }

 private:
  mutable std::shared_mutex mutex_;
  std::map<const std::byte*, const std::byte*> ends_;
};
Regions& regions() {
  static Regions all;
  return all;
}

// LibTorch's libraries also allocate and free bare pointers (raw_allocate), so one function must know what to
// do with any of them.
void release(void* data) {
  if (data == nullptr || (current != nullptr && current->release(data)) || regions().contains(data)) return;
  usual_allocator().raw_deallocate(data);
}
void keep(void*) {}

c10::DataPtr owned(void* data) { return {data, data, &release, c10::Device(at::kCPU)}; }
c10::DataPtr borrowed(void* data) { return {data, data, &keep, c10::Device(at::kCPU)}; }

// Installed once in front of LibTorch's CPU allocator.
class ArenaAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    return current == nullptr ? usual_allocator().allocate(bytes) : current->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    usual_allocator().copy_data(to, from, bytes);
  }
};

void install_allocator() {
  static std::once_flag once;
  std::call_once(once, [] {
    static ArenaAllocator allocator;
    c10::SetCPUAllocator(&allocator, /*priority=*/100);
  });
}

}  // namespace

Arena::Arena() { install_allocator(); }

Arena::~Arena() {
  if (region_ == nullptr) return;
  regions().remove(region_);
  ::munmap(region_, region_bytes_);
}

Arena::Scope::Scope(Arena& arena, const Placement& placement) : outer_(std::exchange(current, &arena)) {
  arena.begin(placement);
}
Arena::Scope::~Scope() { std::exchange(current, outer_)->end(); }
Arena::Pause::Pause() : paused_(std::exchange(current, nullptr)) {}
Arena::Pause::~Pause() { current = paused_; }

void Arena::begin(const Placement& placement) {
  placement_ = &placement;
  cursor_ = 0;
  events_ = 0;
  diverged_ = false;
  if (mode_ == Mode::kRecord) entries_.clear();
}

void Arena::end() {
  placement_ = nullptr;
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
    void* data = usual_allocator().raw_allocate(bytes);
    live_[data] = entries_.size();
    entries_.push_back({bytes, events_++, -1});
    return owned(data);
  }
  if (mode_ != Mode::kReplay || diverged_) return owned(usual_allocator().raw_allocate(bytes));
  if (cursor_ == entries_.size() || entries_[cursor_].bytes != bytes) {
    diverged_ = true;
    return owned(usual_allocator().raw_allocate(bytes));
  }
  const Entry& entry = entries_[cursor_++];
  if (void* place = entry.output < 0 || !*placement_ ? nullptr : (*placement_)(entry.output)) {
    placed_.push_back(place);
    return borrowed(place);
  }
  return entry.offset < 0 ? owned(usual_allocator().raw_allocate(bytes)) : borrowed(region_ + entry.offset);
}

bool Arena::release(void* data) {
  if (std::find(placed_.begin(), placed_.end(), data) != placed_.end()) return true;
  if (mode_ != Mode::kRecord) return false;
  const auto entry = live_.find(data);
  if (entry == live_.end()) return false;
  entries_[entry->second].died = events_++;
  live_.erase(entry);
  return false;
}

bool Arena::plan() noexcept try {
  const int64_t total = place_entries();
  if (region_ != nullptr) {
    regions().remove(region_);
    ::munmap(std::exchange(region_, nullptr), region_bytes_);
  }
  constexpr int64_t kHugePage = 2 << 20;
  region_bytes_ = static_cast<size_t>((total + kHugePage - 1) / kHugePage * kHugePage);
  if (region_bytes_ > 0) {
    void* region = ::mmap(nullptr, region_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED) {
      region_bytes_ = 0;
      return false;
    }
    ::madvise(region, region_bytes_, MADV_HUGEPAGE);
    region_ = static_cast<std::byte*>(region);
    regions().add(region_, region_bytes_);
  }
  // The recorded run's memory lies free in the heap, as large as the region: it goes back to the system.
  ::malloc_trim(0);
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

// By size, largest first, each at the lowest offset where no entry alive at the same time lies.
int64_t Arena::place_entries() {
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

}  // namespace shoal::run
