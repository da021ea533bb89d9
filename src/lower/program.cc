#include "lower/program.h"

#include <map>
#include <set>

#include "base/text.h"
#include "comm/reduce.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

using Kind = Instruction::Kind;

// Whether [a) and [b), next to each other, are the two halves of one node of the tree over [0, n).
bool are_siblings(int64_t n, Range a, Range b) {
  for (Range node{0, n}; node.size() >= 2;) {
    const int64_t split = comm::tree_split(node);
    if (node.begin == a.begin && node.end == b.end) return split == a.end && a.end == b.begin;
    node = b.end <= split ? Range{node.begin, split} : Range{split, node.end};
    if (!node.contains({a.begin, b.end})) return false;
  }
  return false;
}

// The microbatches of one device in order; partial sums are kept like the digits of a binary counter.
struct Accumulation {
  std::vector<Instruction> instructions;
  std::vector<std::pair<Range, int>> roots;  // and their slots
  int num_slots = 0;
};

Accumulation accumulate(int64_t n, Range held) {
  Accumulation plan;
  std::set<int> free_slots;
  const auto new_slot = [&] {
    if (free_slots.empty()) free_slots.insert(plan.num_slots++);
    return free_slots.extract(free_slots.begin()).value();
  };
  auto& open = plan.roots;
  for (int64_t m = held.begin; m < held.end; ++m) {
    Instruction compute{.kind = Kind::kCompute, .microbatch = m};
    if (!open.empty() && are_siblings(n, open.back().first, {m, m + 1})) {
      compute.slot = open.back().second;
      compute.accumulate = true;
      open.back().first.end = m + 1;
    } else {
      compute.slot = new_slot();
      open.push_back({{m, m + 1}, compute.slot});
    }
    plan.instructions.push_back(compute);
    while (open.size() >= 2 && are_siblings(n, open[open.size() - 2].first, open.back().first)) {
      const auto [range, slot] = open.back();
      open.pop_back();
      plan.instructions.push_back({.kind = Kind::kAddSlot, .slot = open.back().second, .from = slot});
      open.back().first.end = range.end;
      free_slots.insert(slot);
    }
  }
  for (Instruction& instruction : plan.instructions) {
    if (instruction.kind != Kind::kCompute || instruction.accumulate) continue;
    for (const auto& [range, slot] : plan.roots)
      if (range.contains({instruction.microbatch, instruction.microbatch + 1}))
        instruction.widen = range.size() > 1;
  }
  return plan;
}

}  // namespace

Program lower_data_parallel(int64_t num_microbatches, int size, int rank) {
  if (size > num_microbatches)
    throw InputError(cat("layout - devices: got ", size, ", want at most ", num_microbatches,
                         " (train.microbatches), since a microbatch is never divided; raise microbatches or "
                         "use fewer devices"));
  Program program;
  program.rank = rank;
  program.size = size;
  program.num_microbatches = num_microbatches;
  for (int r = 0; r < size; ++r) {
    Accumulation plan = accumulate(num_microbatches, share(num_microbatches, size, r));
    for (const auto& [range, slot] : plan.roots) program.roots.push_back({range, r, slot});
    if (r != rank) continue;
    program.instructions = std::move(plan.instructions);
    program.num_slots = plan.num_slots;
  }
  for (Kind kind : {Kind::kReduceScatter, Kind::kAllReduceNorm, Kind::kUpdate, Kind::kAllGather})
    program.instructions.push_back({.kind = kind});
  return program;
}

void program_check(const std::vector<Program>& programs) {
  std::set<int64_t> computed;
  std::vector<Kind> collectives_of_first;
  for (const Program& program : programs) {
    size_t position = 0;
    const auto fail = [&](const std::string& what) {
      throw JobError(cat("program of rank ", program.rank, " - instruction ", position, ": ", what));
    };
    std::map<int, Range> slots;  // what each holds
    std::vector<Kind> collectives;
    for (const Instruction& instruction : program.instructions) {
      const auto held = slots.find(instruction.slot);
      switch (instruction.kind) {
        case Kind::kCompute: {
          if (!computed.insert(instruction.microbatch).second)
            fail(cat("microbatch ", instruction.microbatch, " is computed twice"));
          const Range leaf{instruction.microbatch, instruction.microbatch + 1};
          if (!instruction.accumulate) {
            if (held != slots.end())
              fail(cat("slot ", instruction.slot, " is overwritten before it is read"));
            slots[instruction.slot] = leaf;
          } else {
            if (held == slots.end() || !are_siblings(program.num_microbatches, held->second, leaf))
              fail(cat("microbatch ", instruction.microbatch, " is added out of the tree's order"));
            held->second.end = leaf.end;
          }
          break;
        }
        case Kind::kAddSlot: {
          const auto from = slots.find(instruction.from);
          if (held == slots.end() || from == slots.end() ||
              !are_siblings(program.num_microbatches, held->second, from->second))
            fail(cat("slot ", instruction.from, " is added to slot ", instruction.slot,
                     " out of the tree's order"));
          held->second.end = from->second.end;
          slots.erase(from);
          break;
        }
        case Kind::kReduceScatter:
        case Kind::kAllReduceNorm:
        case Kind::kUpdate:
        case Kind::kAllGather:
          collectives.push_back(instruction.kind);
          break;
      }
      ++position;
    }
    for (const SlotRoot& root : program.roots)
      if (root.rank == program.rank &&
          (!slots.contains(root.slot) || slots.at(root.slot) != root.microbatches))
        fail(cat("root [", root.microbatches.begin, ",", root.microbatches.end, ") is not in slot ",
                 root.slot));
    int64_t next = 0;
    for (const SlotRoot& root : program.roots) {
      if (root.microbatches.begin != next) fail("the roots leave a hole");
      next = root.microbatches.end;
    }
    if (next != program.num_microbatches) fail("the roots leave a hole");
    if (&program == &programs.front()) collectives_of_first = collectives;
    if (collectives != collectives_of_first) fail("its collectives differ from rank 0's");
  }
  if (!programs.empty() && static_cast<int64_t>(computed.size()) != programs.front().num_microbatches)
    throw JobError(cat("program - microbatches: got ", computed.size(), " computed, want ",
                       programs.front().num_microbatches));
}

std::string print(const Program& program) {
  std::string text = cat("program of rank ", program.rank, " of ", program.size, ", ",
                         program.num_microbatches, " microbatches\n");
  for (const Instruction& i : program.instructions) {
    switch (i.kind) {
      case Kind::kCompute:
        text += cat("  compute microbatch=", i.microbatch, i.accumulate ? " +> " : " -> ", "slot ", i.slot,
                    i.widen ? " fp32" : "", "\n");
        break;
      case Kind::kAddSlot:
        text += cat("  add slot ", i.from, " +> slot ", i.slot, "\n");
        break;
      case Kind::kReduceScatter: {
        std::vector<std::string> roots;
        for (const SlotRoot& root : program.roots)
          roots.push_back(cat("[", root.microbatches.begin, ",", root.microbatches.end, ")@", root.rank));
        text += cat("  reduce_scatter gradients, roots ", join(roots, " "), "\n");
        break;
      }
      case Kind::kAllReduceNorm:
        text += "  all_reduce norm\n";
        break;
      case Kind::kUpdate:
        text += "  update owned blocks\n";
        break;
      case Kind::kAllGather:
        text += "  all_gather weights\n";
        break;
    }
  }
  return text;
}

}  // namespace shoal::lower
