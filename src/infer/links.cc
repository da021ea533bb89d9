#include "infer/links.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace shoal::infer {
namespace {

std::vector<int> stage_ranks(const Program& program) {
  std::vector<int> ranks(static_cast<size_t>(program.tp));
  std::iota(ranks.begin(), ranks.end(), static_cast<int>(program.stage() * program.tp));
  return ranks;
}

void copy_columns(const float* part, int64_t rows, Range columns, float* whole, int64_t width) {
  const int64_t count = columns.size();
  for (int64_t row = 0; row < rows && count > 0; ++row)
    std::memcpy(whole + row * width + columns.begin, part + row * count,
                static_cast<size_t>(count) * sizeof(float));
}

}  // namespace

Links::Links(comm::Communicator& communicator, const Program& program, int64_t rows)
    : world_(communicator), stage_(communicator, stage_ranks(program)) {
  if (program.tp == 1) return;
  int64_t widest = 0;
  for (const Buffer& buffer : program.buffers) widest = std::max(widest, buffer.width);
  half_bytes_ = static_cast<size_t>(align_up(rows * widest * static_cast<int64_t>(sizeof(float))));
  window_ = stage_.window(2 * half_bytes_);
}

// Two halves suffice: who writes a half again has seen the count of the gather between, which a member raises
// only after it has read the one before.
void Links::gather(const float* part, int64_t rows, std::span<const Range> ranges, float* whole,
                   int64_t width) {
  const size_t offset = gathers_++ % 2 * half_bytes_;
  const auto me = static_cast<size_t>(stage_.rank());
  const auto bytes = [&](size_t member) {
    return static_cast<size_t>(rows * ranges[member].size()) * sizeof(float);
  };
  std::memcpy(window_->mine().data() + offset, part, bytes(me));
  const uint64_t count = stage_.post();
  copy_columns(part, rows, ranges[me], whole, width);
  for (size_t member = 0; member < ranges.size(); ++member) {
    if (member == me) continue;
    stage_.await(static_cast<int>(member), count);
    const std::byte* const theirs = window_->read(static_cast<int>(member), offset, bytes(member), {});
    copy_columns(reinterpret_cast<const float*>(theirs), rows, ranges[member], whole, width);
  }
}

void Links::send(int64_t rank, const float* from, int64_t elements) {
  world_.send(static_cast<int>(rank), std::as_bytes(std::span(from, static_cast<size_t>(elements))));
}

void Links::recv(int64_t rank, float* to, int64_t elements) {
  world_.recv(static_cast<int>(rank), std::as_writable_bytes(std::span(to, static_cast<size_t>(elements))));
}

}  // namespace shoal::infer
