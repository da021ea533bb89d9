#include "infer/step.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/blocks.h"
#include "base/fault.h"
#include "base/text.h"
#include "shoal/error.h"

namespace shoal::infer {
namespace {

// Counts of the arrays that follow it, each aligned.
struct Header {
  int64_t rows, sequences, pages, results, num_logits;
};

constexpr size_t kPage = 4096;
size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// Walks over the arrays of a slot, one after the other.
class Cursor {
 public:
  explicit Cursor(std::byte* at) : at_(at) {}
  template <class T>
  T* array(int64_t count) {
    T* const found = reinterpret_cast<T*>(at_);
    at_ += align_up(count * static_cast<int64_t>(sizeof(T)));
    return found;
  }

 private:
  std::byte* at_;
};

template <class T>
void put(Cursor& cursor, const std::vector<T>& values) {
  T* const to = cursor.array<T>(static_cast<int64_t>(values.size()));
  if (!values.empty()) std::memcpy(to, values.data(), values.size() * sizeof(T));
}

template <class T>
std::span<const T> get(Cursor& cursor, int64_t count) {
  return {cursor.array<T>(count), static_cast<size_t>(count)};
}

}  // namespace

StepView view(const StepData& data) {
  return {data.tokens, data.positions, data.places,    data.sequences,
          data.pages,  data.results,   data.num_logits};
}

StepMemory::StepMemory(const StepLimits& limits, int64_t slots)
    : StepMemory(limits, slots, memfd_create("steps", MFD_CLOEXEC)) {}

StepMemory::StepMemory(const StepLimits& limits, int64_t slots, int descriptor)
    : limits_(limits), slots_(slots), descriptor_(descriptor) {
  const size_t bytes = slot_bytes() * static_cast<size_t>(slots_);
  void* at = MAP_FAILED;
  if (descriptor_ >= 0 && ftruncate(descriptor_, static_cast<off_t>(bytes)) == 0)
    at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
  if (at == MAP_FAILED) {
    const int error = errno;
    if (descriptor_ >= 0) close(descriptor_);
    throw JobError(cat("memory for steps - cannot be had: got ", std::generic_category().message(error),
                       ", want ", human_bytes(bytes),
                       "; lower the tokens of a step, or ulimit -f unlimited"));
  }
  memory_ = static_cast<std::byte*>(at);
}

StepMemory::~StepMemory() {
  munmap(memory_, slot_bytes() * static_cast<size_t>(slots_));
  close(descriptor_);
}

size_t StepMemory::data_bytes() const {
  const auto bytes = [](int64_t count, size_t size) { return align_up(count * static_cast<int64_t>(size)); };
  return whole_pages(static_cast<size_t>(
      bytes(1, sizeof(Header)) + 2 * bytes(limits_.rows, sizeof(int32_t)) +
      bytes(limits_.rows, sizeof(int64_t)) + bytes(limits_.sequences, sizeof(SequenceRows)) +
      bytes(limits_.pages, sizeof(int32_t)) + bytes(limits_.rows, sizeof(int32_t))));
}

size_t StepMemory::slot_bytes() const {
  const int64_t floats = limits_.logits * limits_.vocabulary + limits_.rows * limits_.width;
  return data_bytes() + whole_pages(static_cast<size_t>(floats + kAlignment) * sizeof(float));
}

void StepMemory::write(int64_t slot, const StepData& data) {
  const auto count = [](const auto& values) { return static_cast<int64_t>(values.size()); };
  if (count(data.tokens) > limits_.rows || count(data.sequences) > limits_.sequences ||
      count(data.pages) > limits_.pages || count(data.results) > limits_.rows ||
      data.num_logits > limits_.logits)
    throw BrokenInvariant("a step is larger than its memory");
  Cursor cursor(memory_ + slot_bytes() * static_cast<size_t>(slot));
  *cursor.array<Header>(1) = {count(data.tokens), count(data.sequences), count(data.pages),
                              count(data.results), data.num_logits};
  put(cursor, data.tokens), put(cursor, data.positions), put(cursor, data.places);
  put(cursor, data.sequences), put(cursor, data.pages), put(cursor, data.results);
}

StepView StepMemory::read(int64_t slot) const {
  Cursor cursor(memory_ + slot_bytes() * static_cast<size_t>(slot));
  const Header header = *cursor.array<Header>(1);
  StepView view;
  view.tokens = get<int32_t>(cursor, header.rows), view.positions = get<int32_t>(cursor, header.rows);
  view.places = get<int64_t>(cursor, header.rows);
  view.sequences = get<SequenceRows>(cursor, header.sequences);
  view.pages = get<int32_t>(cursor, header.pages), view.results = get<int32_t>(cursor, header.results);
  view.num_logits = header.num_logits;
  return view;
}

float* StepMemory::logits(int64_t slot) const {
  return reinterpret_cast<float*>(memory_ + slot_bytes() * static_cast<size_t>(slot) + data_bytes());
}

float* StepMemory::states(int64_t slot) const {
  return logits(slot) + align_up(limits_.logits * limits_.vocabulary);
}

}  // namespace shoal::infer
