#include "run/bucket_ring.h"

namespace shoal::run {
namespace {

// This device's, by dp coordinate.
std::vector<int> data_parallel_group(const DeviceMemory& memory) {
  const lower::Ownership& ownership = memory.ownership();
  std::vector<int> ranks;
  for (int d = 0; d < ownership.layout().dp; ++d)
    ranks.push_back(mesh::rank_of(ownership.layout(), ownership.role(memory.rank()).pp, d, ownership.role(memory.rank()).tp));
  return ranks;
}

}  // namespace

BucketRing::BucketRing(const comm::Group& world, const DeviceMemory& memory, Waits& waits)
    : group_(world, data_parallel_group(memory)),
      bucket_bytes_(lower::bucket_bytes(memory.storage())),
      window_(group_.window(static_cast<size_t>(lower::kBuckets * bucket_bytes_))),
      begun_(lower::kBuckets, 0),
      summed_(lower::kBuckets, 0),
      scratch_(static_cast<size_t>(group_.size())),
      waits_(waits) {}

void BucketRing::begin(const std::function<void(std::byte*)>& fill) {
  const int64_t number = num_begun_++;
  if (fill) {
    if (number >= lower::kBuckets) await_others(group_.size(), summed(number - lower::kBuckets));
    fill(window_->mine().data() + place(number));
  }
  begun(number) = group_.post();
}

void BucketRing::sum_begun(int active, const std::function<void()>& sum) {
  awaited_ = active;
  sum();
  const int64_t number = num_summed_++;
  summed(number) = group_.post();
}

const std::byte* BucketRing::read(int member, int64_t offset, size_t bytes) {
  if (const int members = std::exchange(awaited_, 0); members > 0) await_others(members, begun(num_summed_));
  const auto from = static_cast<size_t>(place(num_summed_) + offset);
  if (member == group_.rank()) return window_->mine().data() + from;
  std::vector<std::byte>& scratch = scratch_[static_cast<size_t>(member)];
  if (!window_->in_place()) scratch.resize(bytes);
  return window_->read(member, from, bytes, scratch);
}

void BucketRing::await_others(int members, uint64_t count) {
  for (int member = 0; member < members; ++member)
    if (member != group_.rank()) waits_.note(group_.world_rank(member), [&] { group_.await(member, count); });
}

}  // namespace shoal::run
