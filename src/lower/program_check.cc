#include "lower/program_check.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "lower/symbolic_run.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

using Kind = Instruction::Kind;

void check_operands(const std::vector<Program>& programs, size_t rank) {
  const Program& program = programs[rank];
  for (size_t n = 0; n < program.instructions.size(); ++n) {
    const Instruction& i = program.instructions[n];
    const auto need = [&](bool good, const char* what) {
      if (!good) fail_check(program, n, cat("there is no such ", what));
    };
    const auto within = [&](int index, size_t size) { return index >= 0 && static_cast<size_t>(index) < size; };
    const auto accumulator = [&](int number) {
      need(program.find(Buffer::Kind::kAccumulator, number) != nullptr, "accumulator");
    };
    if (i.group != -1) {
      need(within(i.group, program.groups.size()), "group");
      const auto& ranks = program.groups[static_cast<size_t>(i.group)].ranks;
      need(std::ranges::find(ranks, static_cast<int>(rank)) != ranks.end(), "group of this device");
    }
    if (i.frame != -1) need(program.find(Buffer::Kind::kFrame, i.frame) != nullptr, "frame");
    switch (i.kind) {
      case Kind::kLoad:
        need(i.frame >= 0, "frame");
        need(i.microbatch >= 0 && i.microbatch < program.num_microbatches, "microbatch");
        break;
      case Kind::kRun:
        need(i.frame >= 0, "frame");
        need(within(i.index, program.segments.size()), "segment");
        if (i.accumulator != -1 || !program.segments[static_cast<size_t>(i.index)].gradients.empty())
          accumulator(i.accumulator);
        break;
      case Kind::kFetch:
        need(i.frame >= 0, "frame");
        need(within(i.index, program.fetches.size()), "fetch");
        break;
      case Kind::kExchange:
        need(i.frame >= 0, "frame");
        need(within(i.index, program.exchanges.size()), "exchange");
        need(i.group >= 0, "group");
        break;
      case Kind::kSend:
      case Kind::kReceive: {
        need(i.frame >= 0, "frame");
        need(within(i.index, program.transfers.size()), "transfer");
        const TransferOperands& transfer = program.transfers[static_cast<size_t>(i.index)];
        need(transfer.sends == (i.kind == Kind::kSend), "transfer in this direction");
        need(within(transfer.peer, programs.size()) && transfer.slots > 0, "peer");
        break;
      }
      case Kind::kFree:
        need(i.frame >= 0, "frame");
        break;
      case Kind::kAdd:
        accumulator(i.accumulator);
        accumulator(i.from);
        if (i.index != -1) need(within(i.index, program.blocks.size()), "block");
        break;
      case Kind::kBegin:
        need(within(i.index, program.buckets.size()), "bucket");
        need(i.group >= 0, "group");
        break;
      case Kind::kReduceScatter:
        if (i.index != -1) need(within(i.index, program.buckets.size()) && i.group >= 0, "bucket");
        for (const Sum& sum : i.sums) {
          if (i.index != -1) accumulator(sum.accumulator);
          for (const PartialSum& term : sum.terms)
            if (term.dp == -1) accumulator(term.accumulator);
        }
        break;
      case Kind::kAllGather:
        need(i.gathered == Buffer::Kind::kSum || i.gathered == Buffer::Kind::kWeights, "buffer to gather");
        [[fallthrough]];
      case Kind::kAllReduce:
      case Kind::kReplay:
      case Kind::kBarrier:
        need(i.group >= 0, "group");
        break;
      case Kind::kUpdate:
        break;
    }
  }
}

// What a member says of a collective; a device without a microbatch is in it all the same.
std::string call_of(const Program& program, const Instruction& i) {
  Instruction call = i;
  call.frame = -1;
  call.sums.clear();
  return print(call, program);
}
void check_order_of_collectives(const std::vector<Program>& programs) {
  struct Call {
    size_t instruction;
    std::string text;
  };
  std::map<std::pair<std::string, std::vector<int>>, std::map<int, std::vector<Call>>> calls;
  for (const Program& program : programs)
    for (const RankGroup& group : program.groups) {
      auto& list = calls[{group.name, group.ranks}][program.rank];
      for (size_t n = 0; n < program.instructions.size(); ++n) {
        const Instruction& i = program.instructions[n];
        if (i.group >= 0 && program.groups[static_cast<size_t>(i.group)] == group)
          list.push_back({n, call_of(program, i)});
      }
    }
  for (const auto& [group, members] : calls) {
    const std::vector<int>& ranks = group.second;
    const auto& [first_rank, first] = *members.begin();
    if (members.size() != ranks.size())
      fail_check(programs[static_cast<size_t>(first_rank)], 0, cat("a group of it is unknown to some of ranks ", join(ranks, ", ")));
    for (const auto& [rank, list] : members) {
      for (size_t c = 0; c < std::max(list.size(), first.size()); ++c) {
        if (c < list.size() && c < first.size() && list[c].text == first[c].text) continue;
        fail_check(programs[static_cast<size_t>(rank)], c < list.size() ? list[c].instruction : programs[static_cast<size_t>(rank)].instructions.size(),
             cat("rank ", first_rank, " calls ",
                 c < first.size() ? cat("\"", first[c].text, "\"") : std::string("nothing more"), " here"));
      }
    }
  }
}

}  // namespace

void fail_check(const Program& program, size_t instruction, const std::string& what) {
  throw JobError(cat("program of rank ", program.rank, " - ",
                     instruction < program.instructions.size()
                         ? cat("instruction ", instruction, ", \"", print(program.instructions[instruction], program),
                               "\": ")
                         : std::string("end: "),
                     what));
}

void program_check(const std::vector<Program>& programs) {
  if (programs.empty()) return;
  for (size_t r = 0; r < programs.size(); ++r) {
    if (programs[r].rank != static_cast<int>(r)) fail_check(programs[r], 0, "it stands where another rank's belongs");
    check_operands(programs, r);
  }
  check_order_of_collectives(programs);
  SymbolicRun(programs).run();
}

}  // namespace shoal::lower
