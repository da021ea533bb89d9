#include "run/gradient_stream.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/text.h"
#include "comm/reduce.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

class AddSeconds {
 public:
  explicit AddSeconds(double& to) : to_(to) {}
  ~AddSeconds() { to_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  double& to_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// This device's, by dp coordinate.
std::vector<int> data_parallel_group(const DeviceMemory& memory) {
  const lower::Ownership& ownership = memory.ownership();
  std::vector<int> ranks;
  for (int d = 0; d < ownership.layout().dp; ++d)
    ranks.push_back(lower::rank_of(ownership.layout(), d, ownership.role(memory.rank()).tp));
  return ranks;
}

}  // namespace

GradientStream::GradientStream(const comm::Group& world, DeviceMemory& memory)
    : memory_(memory),
      group_(world, data_parallel_group(memory)),
      bucket_bytes_(lower::bucket_bytes(memory.storage())),
      window_(group_.window(static_cast<size_t>(lower::kBuckets * bucket_bytes_))),
      scratch_(static_cast<size_t>(group_.size())) {}

void GradientStream::post() {
  group_.post();
  ++posted_;
}

void GradientStream::begin(const lower::Instruction& round, const std::vector<lower::Bucket>& buckets) {
  round_ = &round;
  buckets_ = &buckets;
  base_ = posted_;
  written_ = read_ = 0;
  next_item_ = 0;
}

std::byte* GradientStream::place(int64_t bucket) {
  return window_->mine().data() + (first_ + bucket) % lower::kBuckets * bucket_bytes_;
}

void GradientStream::put(size_t contribution, const at::Tensor& gradient) {
  const at::Tensor dense = gradient.contiguous();
  const auto* data = static_cast<const std::byte*>(dense.const_data_ptr());
  largest_gradient_ = std::max(largest_gradient_, static_cast<int64_t>(dense.nbytes()));
  const auto width = static_cast<int64_t>(dense.element_size());
  int64_t passed = 0;
  while (passed < dense.numel()) {
    const lower::Bucket& bucket = buckets_->at(static_cast<size_t>(written_));
    const lower::BucketItem& item = bucket.at(next_item_);
    if (item.contribution != contribution)
      throw JobError(cat("gradient stream - contribution: got ", contribution, ", want ", item.contribution,
                         "; gradients came in another order than planned"));
    if (next_item_ == 0) await_free(written_);
    std::memcpy(place(written_) + item.offset, data + item.elements.begin * width,
                static_cast<size_t>(item.elements.size() * width));
    passed += item.elements.size();
    if (++next_item_ == bucket.size()) close_bucket();
  }
}

void GradientStream::close_bucket() {
  post();
  ++written_;
  next_item_ = 0;
  if (written_ > kLag) read_bucket();
}

void GradientStream::finish() {
  const auto count = std::ssize(*buckets_);
  if (round_->microbatch != lower::kIdle && written_ != count)
    throw JobError(cat("gradient stream - buckets: got ", written_, " filled, want ", count));
  while (written_ < count) close_bucket();
  while (read_ < count) read_bucket();
  first_ += count;
}

void GradientStream::await_all(int active, int64_t count) {
  if (count <= 0) return;
  const AddSeconds timer(seconds_.wait);
  for (int d = 0; d < active; ++d)
    if (d != group_.rank()) group_.await(d, static_cast<uint64_t>(count));
}

void GradientStream::await_written(int64_t bucket) {
  await_all(static_cast<int>(round_->round.size()), base_ + bucket + 1 + std::max<int64_t>(0, bucket - kLag));
}

void GradientStream::await_free(int64_t bucket) {
  const int64_t before = bucket - lower::kBuckets;  // what it held, unless that was in the round before
  await_all(group_.size(),
            before < 0 ? base_ + before + 1
                       : base_ + std::min(before + kLag + 1, std::ssize(*buckets_)) + before + 1);
}

void GradientStream::read_bucket() {
  const lower::Bucket& bucket = (*buckets_)[static_cast<size_t>(read_)];
  bool waited = false;
  for (const lower::BucketItem& item : bucket) {
    for (OwnedPiece& owned : memory_.owned_of(item.target.unit)) {
      const Range elements = intersect(owned.piece.elements, item.elements);
      if (elements.empty()) continue;
      if (!std::exchange(waited, true)) await_written(read_);
      const AddSeconds timer(seconds_.reduce);
      sum(item, owned, elements, read_);
    }
  }
  post();
  ++read_;
}

void GradientStream::sum(const lower::BucketItem& item, OwnedPiece& owned, Range elements, int64_t bucket) {
  const comm::DType dtype = memory_.storage().units[item.target.unit].contributions[item.target.index];
  const auto width = static_cast<int64_t>(comm::element_bytes(dtype));
  const auto bytes = static_cast<size_t>(elements.size() * width);
  const int64_t offset = item.offset + (elements.begin - item.elements.begin) * width;
  const auto leaf = [&](int64_t microbatch) -> const std::byte* {
    const auto d = static_cast<int>(microbatch - round_->round.begin);
    if (d == group_.rank()) return place(bucket) + offset;
    std::vector<std::byte>& scratch = scratch_[static_cast<size_t>(d)];
    if (!window_->in_place()) scratch.resize(bytes);
    memory_.traffic().gradients += static_cast<int64_t>(bytes);
    return window_->read(d,
                         static_cast<size_t>((first_ + bucket) % lower::kBuckets * bucket_bytes_ + offset),
                         bytes, scratch);
  };
  std::vector<comm::Root> roots;
  for (const lower::RoundSum& sum : round_->sums) {
    const int64_t begin = sum.microbatches.begin;  // a subtree is the tree of its own size
    roots.clear();
    for (const auto& [range, slot] : sum.from)
      roots.push_back({{range.begin - begin, range.end - begin},
                       reinterpret_cast<const std::byte*>(
                           memory_.partial(slot, owned, item.target.index, elements.begin)),
                       comm::DType::kF32});
    for (int64_t m = std::max(begin, round_->round.begin); m < sum.microbatches.end; ++m)
      roots.push_back({{m - begin, m - begin + 1}, leaf(m), dtype});
    comm::sum_roots(sum.microbatches.size(), roots,
                    {memory_.partial(sum.slot, owned, item.target.index, elements.begin),
                     static_cast<size_t>(elements.size())});
  }
}

}  // namespace shoal::run
