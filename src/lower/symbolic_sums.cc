#include "lower/symbolic_run.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "comm/reduce.h"
#include "mesh/layout.h"

namespace shoal::lower {

using Kind = Instruction::Kind;

namespace {

std::string print_range(Range range) { return cat("[", range.begin, ",", range.end, ")"); }

}  // namespace

std::set<int> SymbolicRun::contributions_of_block(const SymbolicDevice& device, int block) {
  std::set<int> given;
  for (const int s : device.program->blocks[static_cast<size_t>(block)].segments) {
    const std::vector<int>& gradients = device.program->segments.at(static_cast<size_t>(s)).gradients;
    given.insert(gradients.begin(), gradients.end());
  }
  return given;
}

bool SymbolicRun::add(SymbolicDevice& device, const Instruction& i) {
  auto &into = device.accumulators[i.accumulator], &from = device.accumulators[i.from];
  const std::set<int> given = i.index < 0 ? device.contributions : contributions_of_block(device, i.index);
  if (given.empty()) fail(device, "the block gives no gradients");
  for (const int contribution : given) {
    const auto found = into.find(contribution), other = from.find(contribution);
    if (found == into.end() || other == from.end()) fail(device, "one of the accumulators has nothing");
    Partial& sum = found->second;
    if ( sum.is_used || other->second.is_used || !sum.in_fp32 || !other->second.in_fp32 ||
        !are_siblings(device.program->num_microbatches, sum.microbatches, other->second.microbatches))
      fail(device, "it adds out of the tree's order");
    sum.microbatches.end = other->second.microbatches.end;
    from.erase(other);
  }
  for (const int part : parts(device)) write(device, Buffer::Kind::kAccumulator, i.accumulator, part);
  return true;
}

bool SymbolicRun::begin(SymbolicDevice& device, const Instruction& i) {
  const auto number = std::ssize(device.begun);
  if (i.frame >= 0 && number >= kBuckets)  // the place is free once all have summed what it held
    for (const int rank : members(device, i))
      if (!order_.await(device.rank, rank, {Event::Kind::kSummed, group_of(device, i), number - kBuckets})) return false;
  const int64_t mine = i.round.begin + device.role.dp;
  BegunBucket begun{i.index, i.round, -1};
  if (i.frame < 0) {
    if (mine < i.round.end) fail(device, "it has a microbatch in this round");
  } else {
    SymbolicFrame& frame = loaded_frame(device, i);
    if (frame.microbatch != mine || mine >= i.round.end) fail(device, "the frame's microbatch is of another round");
    once(device, frame, frame.buckets, i);
    const Bucket& bucket = device.program->buckets[static_cast<size_t>(i.index)];
    for (const BucketItem& item : bucket)
      if (device.made.contains(item.value)) take(device, frame, item.value);
    for (const BucketItem& item : bucket)
      if (item.drops) frame.values.erase(item.value);
    begun.microbatch = frame.microbatch;
    write(device, Buffer::Kind::kBucket, static_cast<int>(number % kBuckets), 0);
  }
  device.begun.push_back(begun);
  order_.post(device.rank, {Event::Kind::kBegun, group_of(device, i), number}, -1);
  return true;
}

bool SymbolicRun::sum_bucket(SymbolicDevice& device, const Instruction& i) {
  const std::vector<int>& ranks = members(device, i);
  const int64_t number = device.num_summed;
  const auto is_next = [&] {
    const BegunBucket& next = device.begun[static_cast<size_t>(number)];
    return next.bucket == i.index && next.round == i.round;
  };
  if (number >= std::ssize(device.begun) || !is_next())
    fail(device, "it is not the bucket that was begun next");
  for (const int rank : ranks)
    if (!order_.await(device.rank, rank, {Event::Kind::kBegun, group_of(device, i), number})) return false;
  int64_t next_leaf = i.round.begin;
  for (const Sum& sum : i.sums) {
    int64_t reached = sum.microbatches.begin;
    for (const PartialSum& term : sum.terms) {
      if (term.microbatches.begin != reached) fail(device, cat("the sum over ", print_range(sum.microbatches), " leaves a hole"));
      reached = term.microbatches.end;
      if (term.dp == -1) {
        use_partial(device, term, i.index);
        continue;
      }
      if (term.dp < 0 || static_cast<size_t>(term.dp) >= ranks.size() || term.accumulator != -1 || term.in_fp32 || term.microbatches.size() != 1)
        fail(device, "a term is no bucket's");
      const int rank = ranks[static_cast<size_t>(term.dp)];
      const BegunBucket& theirs = at(rank).begun.at(static_cast<size_t>(number));
      if (theirs.bucket != i.index || theirs.microbatch != term.microbatches.begin || term.microbatches.begin != next_leaf)
        fail(device, cat("rank ", rank, " has no gradients of microbatch ", term.microbatches.begin, " there"));
      read(device, rank, Buffer::Kind::kBucket, static_cast<int>(number % kBuckets), 0);
      ++next_leaf;
    }
    if (reached != sum.microbatches.end) fail(device, cat("the sum over ", print_range(sum.microbatches), " leaves a hole"));
    if (comm::tree_roots(device.program->num_microbatches, sum.microbatches).size() != 1)
      fail(device, cat(print_range(sum.microbatches), " is no subtree"));
    Partial& into = device.accumulators[sum.accumulator][i.index];
    if (!into.microbatches.empty() && !into.is_used) fail(device, cat("accumulator ", sum.accumulator, " is overwritten before it is read"));
    into = {sum.microbatches, true};
  }
  if (next_leaf != i.round.end) fail(device, "the sums leave a microbatch out");
  ++device.num_summed;
  order_.post(device.rank, {Event::Kind::kSummed, group_of(device, i), number}, -1);
  return true;
}

void SymbolicRun::use_partial(SymbolicDevice& device, const PartialSum& term, int part) {
  auto& parts = device.accumulators[term.accumulator];
  const auto found = parts.find(part);
  if (found == parts.end() || found->second.is_used || found->second.microbatches != term.microbatches || !term.in_fp32)
    fail(device, cat("accumulator ", term.accumulator, " is added out of the tree's order"));
  parts.erase(found);
}

bool SymbolicRun::sum_shard(SymbolicDevice& device, const Instruction& i) {
  const int64_t n = device.program->num_microbatches;
  if (i.sums.size() != 1 || i.sums[0].microbatches != Range{0, n} || i.sums[0].accumulator != -1)
    fail(device, "it is not the sum over all microbatches");
  const bool reads_others = std::ranges::any_of(i.sums[0].terms, [](const PartialSum& term) { return term.dp >= 0; });
  if (reads_others != (i.group >= 0)) fail(device, "it waits for others where it reads of them, and only there");
  if (reads_others && !meet(device, i)) return false;
  if (device.has_sum) fail(device, "the sum is there already");
  int64_t reached = 0;
  for (const PartialSum& term : i.sums[0].terms) {
    if (term.microbatches.begin != reached) fail(device, "the terms leave a hole");
    reached = term.microbatches.end;
    const auto is_kept_by = [&](const SymbolicDevice& other) {
      const Buffer* const buffer = other.program->find(Buffer::Kind::kAccumulator, term.accumulator);
      return buffer != nullptr && buffer->is_shared == (term.dp >= 0);
    };
    if (term.dp == -1) {
      if (!is_kept_by(device)) fail(device, "this device has no sum of its own there");
      for (size_t bucket = 0; bucket < device.program->buckets.size(); ++bucket) check_partial(device, device, term, static_cast<int>(bucket));
      continue;
    }
    for (const int rank : ranks_of(device, term.dp)) {
      SymbolicDevice& other = at(rank);
      if (!is_kept_by(other)) fail(device, cat("rank ", rank, " shows no accumulator ", term.accumulator));
      for (const int contribution : other.contributions) check_partial(device, other, term, contribution);
      if (rank != device.rank) read(device, rank, Buffer::Kind::kAccumulator, term.accumulator, device.rank);
    }
  }
  if (reached != n) fail(device, "the terms leave a hole");
  for (auto& [number, parts] : device.accumulators)
    for (auto& [part, partial] : parts) partial.is_used = true;
  device.has_sum = true;
  device.has_squares = true;
  write(device, Buffer::Kind::kBoard, 0, kSquares);
  write_sum(device, device.rank);
  return true;
}

void SymbolicRun::check_partial(SymbolicDevice& device, SymbolicDevice& other, const PartialSum& term, int part) {
  const auto parts = other.accumulators.find(term.accumulator);
  const bool there = parts != other.accumulators.end() && parts->second.contains(part);
  if (!there || parts->second.at(part).microbatches != term.microbatches || parts->second.at(part).in_fp32 != term.in_fp32)
    fail(device, cat("rank ", other.rank, " has no sum over ", print_range(term.microbatches),
                     term.in_fp32 ? " in fp32" : "", " in its accumulator ", term.accumulator));
}

std::vector<int> SymbolicRun::ranks_of(const SymbolicDevice& device, int dp) {
  const Layout& layout = device.program->layout;
  if (dp < 0 || dp >= layout.dp) fail(device, "a term is no device's");
  std::vector<int> ranks;
  for (const int pp : device.program->stages) {
    if (pp < 0 || pp >= layout.pp) fail(device, "it sums for a stage that is not there");
    for (int tp = 0; tp < layout.tp; ++tp)
      if (!device.role.computes || tp == device.role.tp) ranks.push_back(mesh::rank_of(layout, pp, dp, tp));
  }
  return ranks;
}

void SymbolicRun::write_sum(SymbolicDevice& device, int part) {
  const Buffer* const sum = device.program->find(Buffer::Kind::kSum);
  if (sum->inside >= 0) write(device, Buffer::Kind::kAccumulator, sum->inside, part);
}

bool SymbolicRun::all_reduce(SymbolicDevice& device, const Instruction& i) {
  if (!meet(device, i)) return false;
  for (SymbolicDevice& other : devices_) {
    if (!other.has_squares) fail(device, cat("rank ", other.rank, " has no squares of gradients"));
    read(device, other.rank, Buffer::Kind::kBoard, 0, kSquares);
    read(device, other.rank, Buffer::Kind::kBoard, 0, kLosses);
  }
  for (int64_t m = 0; m < device.program->num_microbatches; ++m)
    if (!at(device.program->rank_of_loss(m)).losses.contains(m)) fail(device, cat("nobody has the loss of microbatch ", m));
  if (device.has_norm) fail(device, "the norm is there already");
  device.has_norm = true;
  return true;
}

bool SymbolicRun::gathers_weights(const SymbolicDevice& device) {
  const Layout& layout = device.program->layout;
  return !mesh::replicates_optimizer(layout) && !mesh::shards_parameters(layout);
}

bool SymbolicRun::replicates(const SymbolicDevice& device) {
  return mesh::replicates_optimizer(device.program->layout);
}

bool SymbolicRun::keeps(const SymbolicDevice& device, int rank) {
  return rank == device.rank || (device.role.computes && !mesh::shards_parameters(device.program->layout));
}

bool SymbolicRun::all_gather(SymbolicDevice& device, const Instruction& i) {
  if (!meet(device, i)) return false;
  const bool sums = i.gathered == Buffer::Kind::kSum;
  if (sums ? !replicates(device) : !gathers_weights(device)) fail(device, "this layout does not gather it");
  if (sums ? !device.has_sum : !device.is_updated) fail(device, "this device's own share of it is not there");
  if (std::exchange(sums ? device.sum_is_gathered : device.weights_are_gathered, true))
    fail(device, "it is gathered already");
  for (const int rank : device.program->peers) {
    if (rank == device.rank) continue;
    SymbolicDevice& other = at(rank);
    if (sums) {
      const Buffer* const sum = other.program->find(Buffer::Kind::kSum);
      if (!other.has_sum || sum->inside < 0) fail(device, cat("rank ", rank, " has no sum to show"));
      read(device, rank, Buffer::Kind::kAccumulator, sum->inside, rank);
      write_sum(device, rank);
    } else {
      read(device, rank, Buffer::Kind::kWeights, 0, rank);
      const int step = other.weights.at(rank);
      if (step != device.step + 1) fail(device, cat("rank ", rank, " has no new weights"));
      write(device, Buffer::Kind::kWeights, 0, rank);
      device.weights[rank] = step;
    }
  }
  return true;
}

bool SymbolicRun::update(SymbolicDevice& device) {
  if (!device.has_sum || !device.has_norm) fail(device, "it has no sum or no norm");
  if (device.is_updated) fail(device, "the weights are updated already");
  if (replicates(device) && !device.sum_is_gathered) fail(device, "it has its own share of the sum alone");
  device.is_updated = true;
  write_sum(device, device.rank);  // it is scaled in place
  if (replicates(device))
    for (const int rank : device.program->peers)
      if (rank != device.rank) write_sum(device, rank);
  for (auto& [rank, step] : device.weights) {
    if (rank != device.rank && !replicates(device)) continue;
    write(device, Buffer::Kind::kWeights, 0, rank);
    ++step;
  }
  return true;
}

bool SymbolicRun::replay(SymbolicDevice& device, const Instruction& i) {
  if (!meet(device, i)) return false;
  std::set<int64_t> all;
  for (const SymbolicDevice& other : devices_) all.insert(other.observed.begin(), other.observed.end());
  if (std::ssize(all) != device.program->num_microbatches) fail(device, "a microbatch was not observed");
  if (device.is_replayed) fail(device, "buffers are replayed already");
  device.is_replayed = true;
  return true;
}

}  // namespace shoal::lower
