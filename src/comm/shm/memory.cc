#include "comm/shm/memory.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

constexpr uint64_t kMagic = 0x53484F414C303033;  // "SHOAL003"; changes with the layout of Board

size_t control_bytes(int ranks) { return sizeof(Board) + sizeof(Ring) * ranks * ranks; }
uint64_t file_bytes(int ranks) { return kHeapStride * (ranks + 1); }

[[noreturn]] void fail_system(const char* what) {
  throw JobError(cat("shared memory - ", what, ": ", std::generic_category().message(errno)));
}

long futex(std::atomic<uint32_t>& word, int operation, uint32_t value, const timespec* timeout) {
  // Not FUTEX_PRIVATE: the word lies in memory that several processes share.
  return syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation, value, timeout, nullptr, 0);
}

}  // namespace

static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(std::atomic<uint32_t>) == sizeof(uint32_t),
              "atomics between processes must be plain words");

template <size_t kBytes>
void SharedText<kBytes>::set(std::string_view text) noexcept {
  text = text.substr(0, kBytes - 1);
  for (size_t word = 0; word * sizeof(uint64_t) <= text.size(); ++word) {
    uint64_t value = 0;
    const std::string_view part = text.substr(word * sizeof value, sizeof value);
    std::copy(part.begin(), part.end(), reinterpret_cast<char*>(&value));
    words_[word].store(value, std::memory_order_relaxed);
  }
}

template <size_t kBytes>
std::string SharedText<kBytes>::get() const {
  std::string text;
  for (const std::atomic<uint64_t>& word : words_) {
    const uint64_t value = word.load(std::memory_order_relaxed);
    const char* part = reinterpret_cast<const char*>(&value);
    const size_t length = strnlen(part, sizeof value);
    text.append(part, length);
    if (length < sizeof value) break;
  }
  return text;
}

template class SharedText<256>;
template class SharedText<2048>;

size_t Ring::write(std::span<const std::byte> bytes) {
  const uint64_t at = head.load(std::memory_order_relaxed);
  const size_t count = std::min(bytes.size(), room()), first = std::min(count, kBytes - at % kBytes);
  std::copy_n(bytes.data(), first, data + at % kBytes);
  std::copy_n(bytes.data() + first, count - first, data);
  head.store(at + count);
  return count;
}

size_t Ring::read(std::span<std::byte> bytes) {
  const uint64_t at = tail.load(std::memory_order_relaxed);
  const size_t count = std::min(bytes.size(), filled()), first = std::min(count, kBytes - at % kBytes);
  std::copy_n(data + at % kBytes, first, bytes.data());
  std::copy_n(data, count - first, bytes.data() + first);
  tail.store(at + count);
  return count;
}

Mapping::Mapping(int descriptor, uint64_t offset, size_t bytes, bool writable) : bytes_(bytes) {
  if (bytes == 0) return;
  void* const at = mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, descriptor,
                        static_cast<off_t>(offset));
  if (at == MAP_FAILED) fail_system("mmap");
  data_ = static_cast<std::byte*>(at);
}
Mapping::~Mapping() {
  if (data_) munmap(data_, bytes_);
}
Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

SharedMemory::SharedMemory(int descriptor, int ranks)
    : descriptor_(descriptor), ranks_(ranks), control_(descriptor, 0, control_bytes(ranks), true) {}

SharedMemory::~SharedMemory() { close(descriptor_); }

std::shared_ptr<SharedMemory> SharedMemory::create(int ranks) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < file_bytes(ranks))
    throw JobError(cat("shared memory - size: got a limit of ", human_bytes(limit.rlim_cur),
                       " on files, want none: devices share a file without a name, of ",
                       human_bytes(file_bytes(ranks)),
                       " that take no room until they are used; say ulimit -f unlimited, or use one device"));
  const int descriptor = memfd_create("shoal", MFD_CLOEXEC);
  if (descriptor < 0) fail_system("memfd_create");
  if (ftruncate(descriptor, static_cast<off_t>(file_bytes(ranks))) != 0) {
    close(descriptor);
    fail_system("ftruncate");
  }
  std::shared_ptr<SharedMemory> memory(new SharedMemory(descriptor, ranks));
  memory->board().magic = kMagic;
  memory->board().ranks = ranks;
  memory->board().launcher = getpid();
  return memory;
}

std::shared_ptr<SharedMemory> SharedMemory::attach(int descriptor, int ranks) {
  uint64_t magic = 0;
  struct stat status;
  if (fstat(descriptor, &status) != 0 || pread(descriptor, &magic, sizeof magic, 0) != sizeof magic ||
      magic != kMagic || static_cast<uint64_t>(status.st_size) != file_bytes(ranks))
    throw InputError(cat("shared memory - descriptor ", descriptor,
                         ": got something else, want the memory of a job of ", ranks, " ranks"));
  return std::shared_ptr<SharedMemory>(new SharedMemory(descriptor, ranks));
}

Ring& SharedMemory::ring(int from, int to) const {
  return reinterpret_cast<Ring*>(control_.data() + sizeof(Board))[to * ranks_ + from];
}

void SharedMemory::wake(int rank) const noexcept {
  RankState& state = this->state(rank);
  if (state.asleep.load() == 0) return;
  state.bell.fetch_add(1);
  futex(state.bell, FUTEX_WAKE, INT_MAX, nullptr);
}

void SharedMemory::wake_all() const noexcept {
  for (int rank = 0; rank < ranks_; ++rank) wake(rank);
}

void SharedMemory::sleep(int rank, uint32_t seen) const noexcept {
  const timespec timeout = {0, 100'000'000};
  futex(state(rank).bell, FUTEX_WAIT, seen, &timeout);
}

void SharedMemory::fail(int rank, std::string_view reason) const noexcept {
  int none = 0;
  if (board().failed.load() != 0) return;
  state(rank).reason.set(failure_text(rank, state(rank).activity.get(), reason));
  board().failed.compare_exchange_strong(none, rank + 1);
  wake_all();
}

std::optional<int> SharedMemory::failed_rank() const noexcept {
  const int failed = board().failed.load();
  return failed == 0 ? std::nullopt : std::optional(failed - 1);
}

std::string SharedMemory::failure() const { return state(*failed_rank()).reason.get(); }

void SharedMemory::leave(int rank) const noexcept {
  state(rank).left.store(1);
  wake_all();
}

}  // namespace shoal::comm
