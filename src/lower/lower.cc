#include "lower/lower.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "base/text.h"
#include "lower/fetch_weights.h"
#include "lower/pipeline_schedule.h"
#include "lower/program_check.h"
#include "lower/segments.h"
#include "lower/stage_graph.h"
#include "mesh/device_mesh.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

using Kind = Instruction::Kind;

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

class Lowering {
 public:
  Lowering(std::string name, Grids& grids, const LocalGraph& local, const Ownership& ownership,
           int64_t num_microbatches, int rank)
      : grids_(grids), local_(local), ownership_(ownership), role_(ownership.role(rank)), rank_(rank) {
    program_.name = std::move(name);
    program_.rank = rank;
    program_.layout = ownership.layout();
    program_.num_microbatches = num_microbatches;
    add_groups();
    std::set<int> peers;
    for (const size_t unit : ownership.held(rank))
      for (const auto& [owner, elements] : ownership.sharers(unit)) peers.insert(owner);
    program_.peers.assign(peers.begin(), peers.end());
    std::set<int> stages;
    for (const Shard& piece : ownership.share(rank))
      for (size_t c = 0; c < ownership.storage().units[piece.unit].contributions.size(); ++c)
        stages.insert(ownership.pp_of(piece.unit, c));
    if (layout().pp > 1) program_.stages.assign(stages.begin(), stages.end());
    program_.pp_of_loss = ownership.pp_of_loss();
  }

  Program training(const Kept& kept) {
    const GradientSchedule schedule =
        schedule_gradients(program_.num_microbatches, program_.layout, rank_);
    program_.dealt = schedule.dealt;
    if (role_.computes) {
      actions_ = cut_segments(
          local_, ownership_.shards_gradients() ? plan_buckets(local_.graph, ownership_.storage()) : std::vector<Bucket>(),
          program_);
      plan_turns();
    }
    add_training_buffers(schedule, kept);
    for (const BlockTurn& turn : turns_) schedule.rounds.empty() ? add_step(turn, schedule) : add_round(turn, schedule);
    if (!schedule.rounds.empty() && role_.computes) end_rounds(schedule);
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
      for (int block = 0; block < std::ssize(actions_); ++block) turns_.push_back({block, 0, 0});
      mark_turns();
      plan_slots();
      add_common_buffers();
      for (const BlockTurn& turn : turns_) add_block(turn, 0, {});
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
    for (int f = 0; f < num_frames_; ++f)
      program_.buffers.push_back({.kind = Buffer::Kind::kFrame, .number = f, .bytes = f == 0 ? frames_bytes() : 0});
    for (const TransferOperands& transfer : program_.transfers)
      if (transfer.sends)
        program_.buffers.push_back({.kind = Buffer::Kind::kTransfer,
                                    .number = transfer.number,
                                    .bytes = transfer.slots * transfer.bytes,
                                    .is_shared = true});
    if (layout().tp > 1)
      program_.buffers.push_back(
          {.kind = Buffer::Kind::kExchange, .bytes = 2 * exchange_half_bytes(local_.half_bytes), .is_shared = true});
  }
  // The most that all frames have at a time; they share memory.
  int64_t frames_bytes() const {
    int64_t most = 0;
    std::vector<int64_t> held(static_cast<size_t>(num_frames_), 0);
    for (const BlockTurn& turn : turns_) {
      int64_t& mine = held[static_cast<size_t>(turn.frame)];
      const int64_t others = std::accumulate(held.begin(), held.end(), -mine);
      const auto look = [&](const Segment& segment) { most = std::max(most, others + segment.peak_bytes); };
      if (program_.blocks.empty()) {
        std::ranges::for_each(program_.segments, look);
        continue;
      }
      const BlockOperands& block = program_.blocks[static_cast<size_t>(turn.block)];
      for (const int segment : block.segments) look(program_.segments[static_cast<size_t>(segment)]);
      mine = turn.ends ? 0 : block.held_bytes;
    }
    return most;
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
      const bool replaces = rounds || (root && ownership_.makes(rank_, piece.unit, 0) &&
                                       (root->in_fp32 || storage.units[piece.unit].contributions[0] == comm::DType::kF32));
      if (!replaces) sum.bytes += piece.elements.size() * kFloatBytes;
    }
    if (rounds || (root && root->in_fp32)) sum.inside = rounds ? 0 : root->accumulator;
    program_.buffers.push_back(sum);
  }

  // --- What the device computes in turn: blocks of its graph, each over one of its own microbatches
  struct BlockTurn {
    int block;
    int64_t number;  // of the device's microbatches
    int frame;
    bool begins = false, ends = false;  // its work on the microbatch
  };

  // Without a pipeline the graph is one block. In one, the schedule says the order; microbatches take the first frame
  // that is free.
  void plan_turns() {
    const int64_t count = std::ranges::count(program_.dealt, role_.dp);
    if (local_.blocks.empty()) {
      for (int64_t m = 0; m < count; ++m) turns_.push_back({0, m, 0});
    } else {
      schedule_ = &grids_.of(count);
      splits_first_ = splits_first_stage(schedule_->grid);
      for (const Turn& turn : schedule_->grid[static_cast<size_t>(role_.pp)])
        for (const Stages::Place& place : places_of(turn, splits_first_)) {
          const auto block = std::ranges::find_if(local_.blocks, [&](const StageBlock& each) {
            return each.stage == place.stage && each.work == place.work;
          });
          turns_.push_back({static_cast<int>(block - local_.blocks.begin()), turn.microbatch, 0});
        }
    }
    mark_turns();
    plan_slots();
  }
  void mark_turns() {
    std::map<int64_t, size_t> last;
    for (size_t t = 0; t < turns_.size(); ++t) last[turns_[t].number] = t;
    std::map<int64_t, int> frames;
    std::set<int> free;
    for (size_t t = 0; t < turns_.size(); ++t) {
      BlockTurn& turn = turns_[t];
      turn.begins = !frames.contains(turn.number);
      if (turn.begins) {
        if (free.empty()) free.insert(num_frames_++);
        frames[turn.number] = free.extract(free.begin()).value();
      }
      turn.frame = frames[turn.number];
      turn.ends = last[turn.number] == t;
      if (turn.ends) free.insert(turn.frame);
    }
  }
  // A sender may be one microbatch ahead of what the receiver's frames have room for: one, where nothing is scheduled;
  // more where the schedule has it send more before the receiver lets go.
  void plan_slots() {
    for (size_t i = 0; i < program_.transfers.size(); ++i) {
      TransferOperands& transfer = program_.transfers[i];
      const auto peer = static_cast<size_t>(transfer.peer), here = static_cast<size_t>(role_.pp);
      const size_t sender = transfer.sends ? here : peer, receiver = transfer.sends ? peer : here;
      transfer.slots = 2;
      if (schedule_) {
        const auto& [grid, line] = *schedule_;
        const auto sends = [&](const Turn& turn) {
          const std::vector<Stages::Place> places = places_of(turn, splits_first_);
          return std::ranges::find(places, local_.transfers[i].made_in) != places.end();
        };
        transfer.slots = std::max(in_flight(grid[receiver]) + 1, most_sent_ahead(grid, line, sender, receiver, sends));
      }
      transfer.peer = mesh::rank_of(layout(), transfer.peer, role_.dp, role_.tp);
    }
  }

  // `run`: what segments do with their gradients; `fill`: what comes when a bucket is full.
  void add_block(const BlockTurn& turn, int64_t microbatch, const Instruction& run,
                 const std::function<void(int bucket)>& fill = {}) {
    if (turn.begins) add({.kind = Kind::kLoad, .frame = turn.frame, .microbatch = microbatch});
    for (const Action& action : actions_[static_cast<size_t>(turn.block)]) {
      if (const auto* segment = std::get_if<RunSegment>(&action))
        add_segment(segment->segment, turn.frame, run);
      else if (const auto* exchange = std::get_if<RunExchange>(&action))
        add({.kind = Kind::kExchange, .group = tp_, .frame = turn.frame, .index = exchange->exchange});
      else if (const auto* fetch = std::get_if<RunFetch>(&action))
        add({.kind = Kind::kFetch, .frame = turn.frame, .index = fetch->fetch});
      else if (const auto* transfer = std::get_if<RunTransfer>(&action))
        add({.kind = program_.transfers[static_cast<size_t>(transfer->transfer)].sends ? Kind::kSend : Kind::kReceive,
             .frame = turn.frame,
             .index = transfer->transfer});
      else
        fill(std::get<FillBucket>(action).bucket);
    }
    if (turn.ends) add({.kind = Kind::kFree, .frame = turn.frame});
  }
  bool gives_gradients(int segment) const { return !program_.segments[static_cast<size_t>(segment)].gradients.empty(); }
  void add_segment(int index, int frame, const Instruction& run) {
    Instruction instruction = gives_gradients(index) ? run : Instruction{};
    instruction.kind = Kind::kRun;
    instruction.frame = frame;
    instruction.index = index;
    add(std::move(instruction));
  }

  void add_step(const BlockTurn& turn, const GradientSchedule& schedule) {
    const GradientSchedule::Step& step = schedule.steps[static_cast<size_t>(turn.number)];
    add_block(turn, step.microbatch, {.accumulator = step.accumulator, .adds = step.adds, .widens = step.widens});
    // Blocks of a pipeline run ahead of each other: each adds what it gave.
    const bool is_one = program_.blocks.empty();
    if (!is_one && std::ranges::none_of(program_.blocks[static_cast<size_t>(turn.block)].segments,
                                        [&](int segment) { return gives_gradients(segment); }))
      return;
    for (const auto& [into, from] : step.then)
      add({.kind = Kind::kAdd, .index = is_one ? -1 : turn.block, .accumulator = into, .from = from});
  }

  // Buckets are summed kBuckets / 2 behind, so that owners seldom wait for each other. A device without a
  // microbatch in the round sums what the others made.
  struct BegunBucket {
    int bucket;
    const GradientSchedule::Round* round;
  };
  void begin_bucket(int bucket, const GradientSchedule::Round& round, int frame) {
    constexpr size_t kLag = kBuckets / 2;
    add({.kind = Kind::kBegin, .group = dp_, .frame = frame, .index = bucket, .round = round.microbatches});
    begun_.push_back({bucket, &round});
    if (begun_.size() > kLag) sum_buckets(kLag);
  }
  void sum_buckets(size_t left) {
    for (; begun_.size() > left; begun_.pop_front())
      add({.kind = Kind::kReduceScatter,
           .group = dp_,
           .index = begun_.front().bucket,
           .round = begun_.front().round->microbatches,
           .sums = begun_.front().round->sums});
  }
  void add_round(const BlockTurn& turn, const GradientSchedule& schedule) {
    const GradientSchedule::Round& round = schedule.rounds[static_cast<size_t>(turn.number)];
    add_block(turn, round.microbatches.begin + role_.dp, {},
              [&](int bucket) { begin_bucket(bucket, round, turn.frame); });
    if (program_.blocks.empty()) sum_buckets(0);
  }
  void end_rounds(const GradientSchedule& schedule) {
    const GradientSchedule::Round& round = schedule.rounds.back();
    if (round.microbatches.begin + role_.dp >= round.microbatches.end)
      for (int bucket = 0; bucket < std::ssize(program_.buckets); ++bucket) begin_bucket(bucket, round, -1);
    sum_buckets(0);
  }

  Grids& grids_;
  const LocalGraph& local_;
  const Ownership& ownership_;
  const mesh::Role role_;
  const int rank_;
  int dp_ = -1, tp_ = -1;  // groups
  std::vector<std::vector<Action>> actions_;  // by block
  const Grids::Timed* schedule_ = nullptr;  // of the pipeline, in training
  bool splits_first_ = false;
  std::vector<BlockTurn> turns_;
  int num_frames_ = 0;
  std::deque<BegunBucket> begun_;
  Program program_;
};

LocalGraph localise(const StagedGraph& model, const Ownership& ownership, int rank) {
  const auto& [graph, stages, costs, blocks, orders] = model;
  const mesh::Role& role = ownership.role(rank);
  LocalGraph local = local_graph(graph, ownership.layout().tp, role.tp, blocks);
  if (stages.count > 1) local = stage_graph(std::move(local), stages, blocks, orders, role.pp);
  if (ownership.shards_parameters()) local = fetch_weights(std::move(local), ownership, rank);
  return local;
}

// Another shape of microbatch, or evaluation, may use a parameter in another stage than where it is kept.
void check_holds(const LocalGraph& local, const Ownership& ownership, int rank) {
  if (ownership.layout().pp == 1 || ownership.shards_parameters()) return;
  std::set<graph::ValueId> read;
  for (const graph::Node& node : local.graph.nodes)
    graph::for_each_input(node, [&](graph::ValueId id) { read.insert(id); });
  for (const graph::Input& input : local.graph.inputs) {
    const auto unit = ownership.storage().find(input.name, input.part);
    if (input.kind == graph::InputKind::kParameter && unit && read.contains(input.value) && !ownership.holds(rank, *unit))
      throw InputError(cat("pipeline - parameter ", input.name, ": it is used now in a stage that did not use it when "
                           "training began; name the stages otherwise, or use fewer"));
  }
}

template <class Lower>
Lowered lower_all(const StagedGraph& model, const Ownership& ownership, int rank, const Lower& lower) {
  Grids grids(ownership, model.costs);
  Lowered lowered;
  std::map<std::pair<int, int>, LocalGraph> locals;  // by pp and tp coordinate, where nothing else tells devices apart
  for (int r = 0; r < ownership.num_ranks(); ++r) {
    const std::pair key(ownership.role(r).pp, ownership.role(r).tp);
    if (ownership.shards_parameters() || !locals.contains(key)) {
      locals.insert_or_assign(key, localise(model, ownership, r));
      if (ownership.role(r).computes) check_holds(locals.at(key), ownership, r);
    }
    const LocalGraph& local = locals.at(key);
    lowered.programs.push_back(lower(local, grids, r));
    if (r == rank) lowered.local = local;
  }
  lowered.costs = model.costs;
  program_check(lowered.programs);
  return lowered;
}

}  // namespace

Lowered lower_training(const graph::Graph& divided, const Ownership& ownership, int64_t num_microbatches, int rank,
                       const Kept& kept) {
  const StagedGraph model = stage_training(divided, ownership);
  return lower_all(model, ownership, rank, [&](const LocalGraph& local, Grids& grids, int r) {
    return Lowering("training", grids, local, ownership, num_microbatches, r).training(kept);
  });
}

Lowered lower_evaluation(const graph::Graph& divided, const Ownership& ownership, int rank) {
  const StagedGraph model = stage_evaluation(divided, ownership);
  return lower_all(model, ownership, rank, [&](const LocalGraph& local, Grids& grids, int r) {
    return Lowering("evaluation", grids, local, ownership, 1, r).evaluation();
  });
}

}  // namespace shoal::lower
