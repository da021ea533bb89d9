// Arrow's memory in flow: large blocks that were given back are kept for the next part, because a page that
// goes back to the system is cleared before it comes again, which cost a fifth of a filter's time. Below are the
// system's own functions: Arrow's default gives small blocks' pages back too.
#pragma once

#include <arrow/memory_pool.h>

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

namespace shoal::flow {

/// Any thread. What it keeps goes back to the system with ReleaseUnused() or at its end.
class KeepingPool final : public arrow::MemoryPool {
 public:
  ~KeepingPool() override { ReleaseUnused(); }
  using MemoryPool::Allocate;
  using MemoryPool::Free;
  using MemoryPool::Reallocate;
  arrow::Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  arrow::Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** block) override;
  void Free(uint8_t* block, int64_t size, int64_t alignment) override;
  void ReleaseUnused() override;

  /// At most this many bytes lie unused.
  void keep(int64_t bytes) { most_kept_ = bytes; }
  int64_t bytes_kept() const { return kept_; }
  int64_t bytes_allocated() const override { return in_use_; }
  int64_t max_memory() const override { return most_in_use_; }
  int64_t total_bytes_allocated() const override { return below_->total_bytes_allocated(); }
  int64_t num_allocations() const override { return below_->num_allocations(); }
  std::string backend_name() const override { return "keeping"; }

 private:
  void count(int64_t bytes);
  static constexpr size_t kClasses = 128;
  arrow::MemoryPool* below_ = arrow::system_memory_pool();
  std::mutex mutex_;
  std::array<std::vector<uint8_t*>, kClasses> free_;  // by size class
  std::atomic<int64_t> most_kept_ = int64_t{64} << 20, kept_ = 0, in_use_ = 0, most_in_use_ = 0;
};

/// The process's, as Arrow's own default is: memory is the process's.
KeepingPool& memory();

}  // namespace shoal::flow
