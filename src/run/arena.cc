#include "run/arena.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "base/blocks.h"
#include "base/text.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

thread_local Arena* current = nullptr;

// Installed once in front of LibTorch's CPU allocator.
class ArenaAllocator final : public c10::Allocator {
 public:
  explicit ArenaAllocator(c10::Allocator* usual) : usual_(usual) {}
  c10::DataPtr allocate(size_t bytes) override {
    return current == nullptr ? usual_->allocate(bytes) : current->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return usual_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override { usual_->copy_data(to, from, bytes); }

 private:
  c10::Allocator* usual_;
};

c10::Allocator* usual_allocator() { return c10::GetDefaultCPUAllocator(); }

void install_allocator() {
  static std::once_flag once;
  std::call_once(once, [] {
    static ArenaAllocator allocator(usual_allocator());
    c10::SetCPUAllocator(&allocator, /*priority=*/100);
  });
}

const c10::Device kCPU(c10::DeviceType::CPU);

}  // namespace

// Frees a recorded allocation and notes when. The arena outlives it only maybe: a tensor may leave the run.
struct Arena::Release {
  std::shared_ptr<Arena*> arena;
  uint64_t run;
  size_t entry;
  c10::DataPtr memory;

  static void call(void* context) {
    const std::unique_ptr<Release> release(static_cast<Release*>(context));
    Arena* arena = *release->arena;
    if (arena != nullptr && arena->run_ == release->run && arena->mode_ == Mode::kRecord && arena == current)
      arena->entries_[release->entry].died = arena->events_++;
  }
};

Arena::Arena() : self_(std::make_shared<Arena*>(this)) { install_allocator(); }

Arena::~Arena() {
  *self_ = nullptr;
  if (region_ != nullptr) ::munmap(region_, region_bytes_);
}

Arena::Scope::Scope(Arena& arena, const Placement& placement) : outer_(std::exchange(current, &arena)) { arena.begin(placement); }
Arena::Scope::~Scope() { std::exchange(current, outer_)->end(); }
Arena::Pause::Pause() : paused_(std::exchange(current, nullptr)) {}
Arena::Pause::~Pause() { current = paused_; }

void Arena::begin(const Placement& placement) {
  placement_ = &placement;
  cursor_ = 0;
  events_ = 0;
  diverged_ = false;
  ++run_;
  if (mode_ == Mode::kRecord) entries_.clear();
}

void Arena::end() {
  placement_ = nullptr;
  switch (mode_) {
    case Mode::kWarmUp:
      mode_ = Mode::kRecord;
      break;
    case Mode::kRecord:
      plan();
      mode_ = Mode::kReplay;
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
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (entry->data != data || entry->died >= 0) continue;
    if (entry->bytes == bytes) entry->output = output;
    return;
  }
}

c10::DataPtr Arena::allocate(size_t bytes) {
  if (mode_ == Mode::kRecord) {
    c10::DataPtr memory = usual_allocator()->allocate(bytes);
    void* data = memory.get();
    entries_.push_back({bytes, events_++, -1, data});
    auto* release = new Release{self_, run_, entries_.size() - 1, std::move(memory)};
    return {data, release, &Release::call, kCPU};
  }
  if (mode_ != Mode::kReplay || diverged_) return usual_allocator()->allocate(bytes);
  if (cursor_ == entries_.size() || entries_[cursor_].bytes != bytes) {
    diverged_ = true;
    return usual_allocator()->allocate(bytes);
  }
  const Entry& entry = entries_[cursor_++];
  void* data = nullptr;
  if (entry.output >= 0 && *placement_) data = (*placement_)(entry.output);
  if (data == nullptr && entry.offset < 0) return usual_allocator()->allocate(bytes);
  if (data == nullptr) data = region_ + entry.offset;
  return {data, kCPU};
}

// Places entries by size, largest first, each at the lowest offset where no entry alive at the same time lies.
void Arena::plan() {
  std::vector<size_t> order;
  for (size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].died >= 0 && entries_[i].bytes > 0) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return entries_[a].bytes > entries_[b].bytes; });
  int64_t total = 0;
  std::vector<size_t> placed, neighbours;
  for (size_t index : order) {
    Entry& entry = entries_[index];
    neighbours.clear();
    for (size_t other : placed)
      if (entries_[other].born < entry.died && entry.born < entries_[other].died) neighbours.push_back(other);
    std::sort(neighbours.begin(), neighbours.end(), [&](size_t a, size_t b) { return entries_[a].offset < entries_[b].offset; });
    const int64_t bytes = align_up(static_cast<int64_t>(entry.bytes));
    int64_t offset = 0;
    for (size_t other : neighbours) {
      if (offset + bytes <= entries_[other].offset) break;
      offset = std::max(offset, entries_[other].offset + align_up(static_cast<int64_t>(entries_[other].bytes)));
    }
    entry.offset = offset;
    total = std::max(total, offset + bytes);
    placed.push_back(index);
  }
  if (region_ != nullptr) ::munmap(std::exchange(region_, nullptr), region_bytes_);
  constexpr int64_t kHugePage = 2 << 20;
  region_bytes_ = static_cast<size_t>((total + kHugePage - 1) / kHugePage * kHugePage);
  if (region_bytes_ == 0) return;
  void* region = ::mmap(nullptr, region_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) throw JobError(cat("arena - memory: no ", human_bytes(region_bytes_), " for the activations of a microbatch"));
  ::madvise(region, region_bytes_, MADV_HUGEPAGE);
  region_ = static_cast<std::byte*>(region);
}

}  // namespace shoal::run
