#include "comm/shm/heap.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

constexpr uint64_t kPage = 4096;
uint64_t whole_pages(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }
uint64_t machine_bytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

Heap::Heap(std::shared_ptr<SharedMemory> memory, int rank) : memory_(std::move(memory)), rank_(rank) {}

void Heap::sweep() {
  std::erase_if(blocks_,
                [&](const Block& block) { return memory_->state(rank_).holders[block.slot].load() == 0; });
}

Block Heap::allocate(size_t bytes, int holders) {
  if (bytes == 0) return {};
  sweep();
  // More would be found out by the kernel only when the pages are written: it would kill the process.
  if (bytes > machine_bytes())
    throw JobError(cat("rank ", rank_, " - window: got ", human_bytes(bytes), ", want at most the machine's ",
                       human_bytes(machine_bytes())));
  if (blocks_.size() >= kMaxWindows)
    throw JobError(cat("rank ", rank_, " - window: got ", kMaxWindows,
                       " alive already, want fewer; drop those no longer used"));
  std::vector<bool> taken(kMaxWindows);
  for (const Block& block : blocks_) taken[block.slot] = true;
  const auto slot = static_cast<uint64_t>(std::find(taken.begin(), taken.end(), false) - taken.begin());

  // The first gap that is large enough.
  const uint64_t begin = kHeapStride * (rank_ + 1);
  uint64_t offset = begin;
  auto next = blocks_.begin();
  for (; next != blocks_.end() && next->offset - offset < bytes; ++next)
    offset = next->offset + whole_pages(next->bytes);
  if (offset + bytes > begin + kHeapStride)
    throw JobError(cat("rank ", rank_, " - window: got ", human_bytes(bytes),
                       ", want less: the windows alive fill ", human_bytes(offset - begin)));
  const Block block = {rank_, offset, bytes, slot};
  blocks_.insert(next, block);
  memory_->state(rank_).holders[slot].store(1 + static_cast<uint32_t>(holders));
  return block;
}

void release(const SharedMemory& memory, const Block& block) noexcept {
  if (block.bytes == 0) return;
  std::atomic<uint32_t>& holders = memory.state(block.owner).holders[block.slot];
  if (holders.fetch_sub(1) != 2) return;
  // Freed pages read as zeros when the place is used again.
  fallocate(memory.descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(block.offset),
            static_cast<off_t>(whole_pages(block.bytes)));
  holders.store(0);
}

ShmWindow::ShmWindow(std::shared_ptr<SharedMemory> memory, int me, std::vector<Block> blocks)
    : memory_(std::move(memory)), me_(me), blocks_(std::move(blocks)), mappings_(blocks_.size()) {
  mappings_[me_] = Mapping(memory_->descriptor(), blocks_[me_].offset, blocks_[me_].bytes, true);
}

ShmWindow::~ShmWindow() {
  mappings_.clear();
  for (const Block& block : blocks_) release(*memory_, block);
}

std::span<std::byte> ShmWindow::mine() { return {mappings_[me_].data(), blocks_[me_].bytes}; }

const std::byte* ShmWindow::read(int member, size_t offset, size_t bytes, std::span<std::byte>) {
  check_read(*this, member, offset, bytes);
  Mapping& mapping = mappings_[member];
  if (!mapping.data())
    mapping = Mapping(memory_->descriptor(), blocks_[member].offset, blocks_[member].bytes, false);
  return mapping.data() + offset;
}

}  // namespace shoal::comm
