#include "run/step_trace.h"

#include <algorithm>

namespace shoal::run {
namespace {

using Kind = lower::Instruction::Kind;
using Pass = lower::Turn::Pass;
using Work = lower::Stages::Work;

// The pass of a stage that an instruction belongs to, by its segment or its node; null where the graph is
// one.
const lower::StageBlock* block_of(const lower::Instruction& i, const Execution& execution) {
  const lower::Program& program = execution.program;
  const std::vector<lower::StageBlock>& blocks = execution.local.blocks;
  const auto index = static_cast<size_t>(i.index);
  const auto of_node = [&](size_t node) -> const lower::StageBlock* {
    const auto n = static_cast<int64_t>(node);
    const auto found = std::ranges::find_if(blocks, [&](const lower::StageBlock& block) {
      return block.nodes.begin <= n && n < block.nodes.end;
    });
    return found == blocks.end() ? nullptr : &*found;
  };
  switch (i.kind) {
    case Kind::kRun:
      for (size_t b = 0; b < program.blocks.size(); ++b)
        if (std::ranges::find(program.blocks[b].segments, i.index) != program.blocks[b].segments.end())
          return &blocks[b];
      return nullptr;
    case Kind::kAdd:
      return i.index < 0 ? nullptr : &blocks.at(index);
    case Kind::kExchange:
      return of_node(program.exchanges.at(index).node);
    case Kind::kFetch:
      return of_node(program.fetches.at(index).node);
    case Kind::kSend:
    case Kind::kReceive:
      return of_node(program.transfers.at(index).node);
    default:
      return nullptr;
  }
}

// Backward is of input gradients alone where the stage has a block for those of weights.
Pass pass_of(const lower::StageBlock& block, const std::vector<lower::StageBlock>& all) {
  if (block.work == Work::kForward) return Pass::kForward;
  if (block.work == Work::kWeightGradient) return Pass::kWeightGradient;
  const bool is_split = std::ranges::any_of(
      all, [&](const lower::StageBlock& each) { return each.stage == block.stage && each.work == Work::kWeightGradient; });
  return is_split ? Pass::kInputGradient : Pass::kBackward;
}

}  // namespace

const char* name_of(Part part) {
  switch (part) {
    case Part::kCompute:
      return "compute";
    case Part::kReduce:
      return "reduce";
    case Part::kUpdate:
      return "update";
    case Part::kGather:
      return "gather";
    case Part::kWait:
      break;
  }
  return "wait";
}

Part part_of(Kind kind) {
  switch (kind) {
    case Kind::kReduceScatter:
    case Kind::kAllReduce:
      return Part::kReduce;
    case Kind::kAllGather:
    case Kind::kFetch:
    case Kind::kReplay:
    case Kind::kBarrier:
      return Part::kGather;
    case Kind::kUpdate:
      return Part::kUpdate;
    default:
      return Part::kCompute;
  }
}

void StepTrace::begin(int64_t step, const Execution& execution) {
  step_ = step;
  num_run_ = 0;
  instructions_.clear();
  std::vector<int64_t> microbatches(execution.num_frames(), -1);  // by frame
  for (const lower::Instruction& i : execution.program.instructions) {
    TracedInstruction& traced = instructions_.emplace_back();
    traced.text = print(i, execution.program);
    traced.part = part_of(i.kind);
    if (i.kind == Kind::kLoad) microbatches.at(static_cast<size_t>(i.frame)) = i.microbatch;
    if (i.frame >= 0) traced.microbatch = microbatches.at(static_cast<size_t>(i.frame));
    const lower::StageBlock* const block = block_of(i, execution);
    if (block == nullptr) continue;
    traced.stage = block->stage;
    if (i.kind == Kind::kRun)
      traced.turn = {pass_of(*block, execution.local.blocks), block->stage, traced.microbatch};
  }
}

void StepTrace::add(Clock::time_point begin, Clock::time_point end, const Waits& waits) {
  TracedInstruction& traced = instructions_.at(num_run_++);
  traced.begin = begin;
  traced.end = end;
  traced.waits = waits.all();
}

}  // namespace shoal::run
