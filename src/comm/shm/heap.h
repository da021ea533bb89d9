// The windows of ranks in the shared file: who holds what, and when it is free again.
#pragma once

#include <memory>
#include <vector>

#include "comm/shm/memory.h"

namespace shoal::comm {

/// Where one rank's part of a window lies. `slot` is its index in RankState::holders; no bytes, no slot.
struct Block {
  int owner = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t slot = 0;
};

/// Deals out the part of the file that belongs to one rank. Threads: belongs to that rank's thread.
class Heap {
 public:
  Heap(std::shared_ptr<SharedMemory>, int rank);

  /// Zeroed bytes, held by so many ranks until each has called release. Takes back what is free by now.
  /// Throws JobError when there is no room.
  Block allocate(size_t bytes, int holders);

 private:
  void sweep();

  std::shared_ptr<SharedMemory> memory_;
  int rank_;
  std::vector<Block> blocks_;  // not yet seen free, by offset
};

/// One rank lets go of the block; the last one gives its pages back to the system.
void release(const SharedMemory&, const Block&) noexcept;

class ShmWindow : public Window {
 public:
  /// Takes over this rank's hold on every block, one for each member of the group, this one number `me`; maps
  /// its own now, a peer's when it is first read.
  ShmWindow(std::shared_ptr<SharedMemory>, int me, std::vector<Block> blocks);
  ~ShmWindow() override;
  std::span<std::byte> mine() override;
  size_t bytes(int member) const override { return blocks_.at(static_cast<size_t>(member)).bytes; }
  const std::byte* read(int member, size_t offset, size_t bytes, std::span<std::byte> scratch) override;
  bool in_place() const override { return true; }

 private:
  std::shared_ptr<SharedMemory> memory_;
  int me_;
  std::vector<Block> blocks_;
  std::vector<Mapping> mappings_;
};

}  // namespace shoal::comm
