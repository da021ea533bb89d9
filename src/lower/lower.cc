#include "lower/lower.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "lower/fetch_weights.h"
#include "lower/program_check.h"
#include "lower/segments.h"
#include "mesh/device_mesh.h"

namespace shoal::lower {
namespace {

using Kind = Instruction::Kind;

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

class Lowering {
 public:
  Lowering(std::string name, const LocalGraph& local, const Ownership& ownership, int64_t num_microbatches, int rank)
      : local_(local), ownership_(ownership), role_(ownership.role(rank)), rank_(rank) {
    program_.name = std::move(name);
    program_.rank = rank;
    program_.layout = ownership.layout();
    program_.num_microbatches = num_microbatches;
    add_groups();
    std::set<int> peers;
    for (const size_t unit : ownership.held(rank))
      for (const auto& [owner, elements] : ownership.sharers(unit)) peers.insert(owner);
    program_.peers.assign(peers.begin(), peers.end());
  }

  Program training(const Kept& kept) {
    const GradientSchedule schedule =
        schedule_gradients(program_.num_microbatches, program_.layout, rank_);
    program_.dealt = schedule.dealt;
    if (role_.computes)
      actions_ = cut_segments(
          local_, ownership_.shards_gradients() ? plan_buckets(local_.graph, ownership_.storage()) : std::vector<Bucket>(),
          program_);
    add_training_buffers(schedule, kept);
    for (const GradientSchedule::Step& step : schedule.steps) add_step(step);
    for (const GradientSchedule::Round& round : schedule.rounds) add_round(round);
    const bool rounds = !schedule.rounds.empty();
    add({.kind = Kind::kReduceScatter, .group = rounds ? -1 : kWorld, .sums = {schedule.total()}});
    add({.kind = Kind::kAllReduce, .group = kWorld});
    if (ownership_.replicates_optimizer()) {
      add({.kind = Kind::kAllGather, .group = kWorld, .gathered = Buffer::Kind::kSum});
      add({.kind = Kind::kBarrier, .group = kWorld});  // the optimizer scales in place what peers read
      add({.kind = Kind::kUpdate});
    } else {
      add({.kind = Kind::kUpdate});
      if (ownership_.shards_parameters())
        add({.kind = Kind::kBarrier, .group = kWorld});  // from here on peers fetch the new weights
      else
        add({.kind = Kind::kAllGather, .group = kWorld});
    }
    if (!local_.graph.buffer_update.buffers.empty()) add({.kind = Kind::kReplay, .group = kWorld});
    return std::move(program_);
  }

  Program evaluation() {
    program_.dealt = {role_.dp};
    if (role_.computes) {
      actions_ = cut_segments(local_, {}, program_);
      add_common_buffers();
      add_microbatch(0, {});
    }
    return std::move(program_);
  }

 private:
  static constexpr int kWorld = 0;

  void add(Instruction instruction) { program_.instructions.push_back(std::move(instruction)); }

  void add_groups() {
    const Layout& layout = ownership_.layout();
    RankGroup world{"world", {}};
    for (int rank = 0; rank < ownership_.num_ranks(); ++rank) world.ranks.push_back(rank);
    program_.groups.push_back(std::move(world));
    if (!role_.computes) return;
    const mesh::DeviceMesh mesh = mesh::mesh_of(layout);
    const auto add_axis = [&](const char* axis) {
      program_.groups.push_back({axis, mesh.group(rank_, axis)});
      return static_cast<int>(program_.groups.size()) - 1;
    };
    if (ownership_.shards_gradients()) dp_ = add_axis("dp");
    if (layout.tp > 1) tp_ = add_axis("tp");
  }

  void add_common_buffers() {
    program_.buffers.push_back(
        {.kind = Buffer::Kind::kWeights, .bytes = ownership_.weight_bytes(rank_), .is_shared = true});
    if (!role_.computes) return;
    int64_t frame = 0;
    for (const Segment& segment : program_.segments) frame = std::max(frame, segment.peak_bytes);
    program_.buffers.push_back({.kind = Buffer::Kind::kFrame, .bytes = frame});
    if (layout().tp > 1)
      program_.buffers.push_back(
          {.kind = Buffer::Kind::kExchange, .bytes = 2 * exchange_half_bytes(local_.half_bytes), .is_shared = true});
  }
  const Layout& layout() const { return program_.layout; }

  void add_training_buffers(const GradientSchedule& schedule, const Kept& kept) {
    add_common_buffers();
    const Storage& storage = ownership_.storage();
    int64_t owned = 0, masters = 0;
    for (const Shard& piece : ownership_.owned(rank_)) {
      owned += piece.elements.size() * kFloatBytes;
      if (storage.units[piece.unit].dtype != comm::DType::kF32) masters += piece.elements.size() * kFloatBytes;
    }
    program_.buffers.push_back({.kind = Buffer::Kind::kMaster, .bytes = masters});
    program_.buffers.push_back({.kind = Buffer::Kind::kOptimizer, .bytes = kept.optimizer_states * owned});
    program_.buffers.push_back({.kind = Buffer::Kind::kModule, .bytes = kept.module_bytes});
    const bool rounds = !schedule.rounds.empty();
    program_.buffers.push_back({.kind = Buffer::Kind::kBoard,
                                .bytes = board_bytes(storage, program_.num_microbatches),
                                .is_shared = true});
    const int64_t each = rounds ? shard_accumulator_bytes(ownership_, rank_) : ownership_.accumulator_bytes(rank_);
    for (int a = 0; a < schedule.num_accumulators; ++a)
      program_.buffers.push_back({.kind = Buffer::Kind::kAccumulator, .number = a, .bytes = each, .is_shared = !rounds});
    if (rounds && role_.computes)
      for (int b = 0; b < kBuckets; ++b)
        program_.buffers.push_back(
            {.kind = Buffer::Kind::kBucket, .number = b, .bytes = bucket_bytes(storage), .is_shared = true});
    // The sum replaces the device's own root of it where that is kept in fp32.
    Buffer sum{.kind = Buffer::Kind::kSum};
    const PartialSum* const root = role_.computes ? schedule.root_of(role_.dp) : nullptr;
    for (const Shard& piece : ownership_.owned(rank_)) {
      const bool replaces =
          rounds || (root && (root->in_fp32 ||
                              storage.units[piece.unit].contributions[0] == comm::DType::kF32));
      if (!replaces) sum.bytes += piece.elements.size() * kFloatBytes;
    }
    if (rounds || (root && root->in_fp32)) sum.inside = rounds ? 0 : root->accumulator;
    program_.buffers.push_back(sum);
  }

  // --- One run of the graph. `run`: what a segment does with its gradients; `fill`: what comes when a bucket is full
  void add_microbatch(int64_t microbatch, const Instruction& run, const std::function<void(int bucket)>& fill = {}) {
    add({.kind = Kind::kLoad, .frame = 0, .microbatch = microbatch});
    for (const Action& action : actions_) {
      if (const auto* segment = std::get_if<RunSegment>(&action))
        add_segment(segment->segment, run);
      else if (const auto* exchange = std::get_if<RunExchange>(&action))
        add({.kind = Kind::kExchange, .group = tp_, .frame = 0, .index = exchange->exchange});
      else if (const auto* fetch = std::get_if<RunFetch>(&action))
        add({.kind = Kind::kFetch, .frame = 0, .index = fetch->fetch});
      else
        fill(std::get<FillBucket>(action).bucket);
    }
    add({.kind = Kind::kFree, .frame = 0});
  }
  void add_segment(int index, const Instruction& run) {
    const bool has_gradients = !program_.segments[static_cast<size_t>(index)].gradients.empty();
    Instruction instruction = has_gradients ? run : Instruction{};
    instruction.kind = Kind::kRun;
    instruction.frame = 0;
    instruction.index = index;
    add(std::move(instruction));
  }

  void add_step(const GradientSchedule::Step& step) {
    add_microbatch(step.microbatch,
                   {.accumulator = step.accumulator, .adds = step.adds, .widens = step.widens});
    for (const auto& [into, from] : step.then)
      add({.kind = Kind::kAdd, .accumulator = into, .from = from});
  }

  // Buckets are summed kBuckets / 2 behind, so that owners seldom wait for each other. A device without a
  // microbatch in the round sums what the others made.
  void add_round(const GradientSchedule::Round& round) {
    constexpr int kLag = kBuckets / 2;
    const int64_t microbatch = round.microbatches.begin + role_.dp;
    const auto count = static_cast<int>(program_.buckets.size());
    const auto sum = [&](int bucket) {
      add({.kind = Kind::kReduceScatter, .group = dp_, .index = bucket, .round = round.microbatches, .sums = round.sums});
    };
    const auto begin = [&](int bucket, int frame) {
      add({.kind = Kind::kBegin, .group = dp_, .frame = frame, .index = bucket, .round = round.microbatches});
      if (bucket >= kLag) sum(bucket - kLag);
    };
    if (microbatch < round.microbatches.end)
      add_microbatch(microbatch, {}, [&](int bucket) { begin(bucket, 0); });
    else
      for (int bucket = 0; bucket < count; ++bucket) begin(bucket, -1);
    for (int bucket = std::max(0, count - kLag); bucket < count; ++bucket) sum(bucket);
  }

  const LocalGraph& local_;
  const Ownership& ownership_;
  const mesh::Role role_;
  const int rank_;
  int dp_ = -1, tp_ = -1;  // groups
  std::vector<Action> actions_;
  Program program_;
};

LocalGraph localise(const graph::Graph& divided, const Ownership& ownership, int rank) {
  LocalGraph local = local_graph(divided, ownership.layout().tp, ownership.role(rank).tp);
  if (ownership.shards_parameters()) local.graph = fetch_weights(std::move(local.graph), ownership, rank);
  return local;
}

template <class Lower>
Lowered lower_all(const graph::Graph& divided, const Ownership& ownership, int rank, const Lower& lower) {
  Lowered lowered;
  std::map<int, LocalGraph> locals;  // by tensor-parallel coordinate, where nothing else tells devices apart
  for (int r = 0; r < ownership.num_ranks(); ++r) {
    const int tp = ownership.role(r).tp;
    if (ownership.shards_parameters() || !locals.contains(tp))
      locals.insert_or_assign(tp, localise(divided, ownership, r));
    const LocalGraph& local = locals.at(tp);
    lowered.programs.push_back(lower(local, r));
    if (r == rank) lowered.local = local;
  }
  program_check(lowered.programs);
  return lowered;
}

}  // namespace

Lowered lower_training(const graph::Graph& divided, const Ownership& ownership, int64_t num_microbatches, int rank,
                       const Kept& kept) {
  return lower_all(divided, ownership, rank, [&](const LocalGraph& local, int r) {
    return Lowering("training", local, ownership, num_microbatches, r).training(kept);
  });
}

Lowered lower_evaluation(const graph::Graph& divided, const Ownership& ownership, int rank) {
  return lower_all(divided, ownership, rank, [&](const LocalGraph& local, int r) {
    return Lowering("evaluation", local, ownership, 1, r).evaluation();
  });
}

int64_t shard_accumulator_bytes(const Ownership& ownership, int rank) {
  int64_t bytes = 0;
  for (const Shard& piece : ownership.owned(rank))
    bytes += align_up(piece.elements.size() * kFloatBytes) *
             std::ssize(ownership.storage().units[piece.unit].contributions);
  return bytes;
}

int64_t board_bytes(const Storage& storage, int64_t num_microbatches) {
  return align_up(static_cast<int64_t>(sizeof(double)) * (num_microbatches + storage.num_blocks + 1));
}

}  // namespace shoal::lower
