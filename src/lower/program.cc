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

// Round k is microbatches [k dp, (k+1) dp). After it an owner keeps the roots of the tree inside [0, (k+1)
// dp): those before, which this round's leaves did not reach, and new ones.
std::vector<Instruction> rounds(int64_t n, int64_t dp, int* num_slots) {
  std::vector<Instruction> all;
  std::vector<RoundSum::Earlier> kept;
  for (int64_t begin = 0; begin < n; begin += dp) {
    Instruction round{.kind = Kind::kRound, .round = {begin, std::min(begin + dp, n)}};
    std::vector<RoundSum::Earlier> next;
    std::set<int> taken;
    for (const auto& earlier : kept) taken.insert(earlier.slot);
    for (const Range& root : comm::tree_roots(n, {0, round.round.end})) {
      RoundSum sum{root, -1, {}};
      for (const auto& earlier : kept)
        if (root.contains(earlier.microbatches)) sum.from.push_back(earlier);
      if (!sum.from.empty() && sum.from[0].microbatches == root) {
        next.push_back(sum.from[0]);
        continue;
      }
      if (sum.from.empty())
        for (sum.slot = 0; taken.contains(sum.slot);) ++sum.slot;
      else
        sum.slot = sum.from[0].slot;
      for (const auto& earlier : sum.from) taken.erase(earlier.slot);
      taken.insert(sum.slot);
      *num_slots = std::max(*num_slots, sum.slot + 1);
      next.push_back({root, sum.slot});
      round.sums.push_back(std::move(sum));
    }
    kept = std::move(next);
    all.push_back(std::move(round));
  }
  return all;
}

}  // namespace

std::vector<int64_t> Program::microbatches() const {
  const Role role = role_of(layout, rank);
  std::vector<int64_t> mine;
  for (int64_t m = 0; m < num_microbatches && role.computes; ++m)
    if (dealt[static_cast<size_t>(m)] == role.dp) mine.push_back(m);
  return mine;
}

int Program::teller(int64_t microbatch) const {
  return rank_of(layout, dealt[static_cast<size_t>(microbatch)], role_of(layout, rank).tp);
}

Program lower_step(int64_t num_microbatches, const Layout& layout, int rank) {
  if (layout.dp > num_microbatches)
    throw InputError(cat("layout - dp: got ", layout.dp, ", want at most ", num_microbatches,
                         " (train.microbatches), since a microbatch is never divided; raise microbatches or "
                         "use fewer devices"));
  Program program{.rank = rank, .layout = layout, .num_microbatches = num_microbatches};
  const Role role = role_of(layout, rank);
  const bool replicated = layout.zero == 0 && layout.servers == 0;
  if (layout.zero >= 2 && layout.servers == 0) {
    for (int64_t m = 0; m < num_microbatches; ++m) program.dealt.push_back(static_cast<int>(m % layout.dp));
    program.instructions = rounds(num_microbatches, layout.dp, &program.num_slots);
    for (Instruction& round : program.instructions)
      if (round.round.begin + role.dp < round.round.end) round.microbatch = round.round.begin + role.dp;
  } else {
    for (int d = 0; d < layout.dp; ++d) {
      const Range mine = share(num_microbatches, layout.dp, d);
      program.dealt.insert(program.dealt.end(), static_cast<size_t>(mine.size()), d);
      Accumulation plan = accumulate(num_microbatches, mine);
      // Sums that others will copy are made where a root lies, so all roots are fp32.
      if (replicated)
        for (Instruction& instruction : plan.instructions)
          instruction.widen |= instruction.kind == Kind::kCompute && !instruction.accumulate;
      for (const auto& [range, slot] : plan.roots)
        program.roots.push_back({range, d, slot, replicated || range.size() > 1});
      if (!role.computes || d != role.dp) continue;
      program.instructions = std::move(plan.instructions);
      program.num_slots = plan.num_slots;
    }
  }
  program.instructions.push_back({.kind = Kind::kReduceScatter});
  program.instructions.push_back({.kind = Kind::kAllReduceNorm});
  if (replicated) program.instructions.push_back({.kind = Kind::kAllGatherGradients});
  program.instructions.push_back({.kind = Kind::kUpdate});
  if (!replicated) program.instructions.push_back({.kind = Kind::kAllGather});
  return program;
}

void program_check(const std::vector<Program>& programs) {
  std::set<std::pair<int, int64_t>> computed;  // tensor-parallel coordinate, microbatch
  std::vector<std::pair<Kind, Range>> collectives_of_first;
  for (const Program& program : programs) {
    const Role role = role_of(program.layout, program.rank);
    const int64_t n = program.num_microbatches;
    size_t position = 0;
    const auto fail = [&](const std::string& what) {
      throw JobError(cat("program of rank ", program.rank, " - instruction ", position, ": ", what));
    };
    const auto compute_once = [&](int64_t microbatch) {
      if (!role.computes) fail(cat("a server computes microbatch ", microbatch));
      if (!computed.insert({role.tp, microbatch}).second)
        fail(cat("microbatch ", microbatch, " is computed twice"));
    };
    std::map<int, Range> slots;  // what each holds
    std::vector<std::pair<Kind, Range>> collectives;
    for (const Instruction& instruction : program.instructions) {
      const auto held = slots.find(instruction.slot);
      switch (instruction.kind) {
        case Kind::kCompute: {
          compute_once(instruction.microbatch);
          const Range leaf{instruction.microbatch, instruction.microbatch + 1};
          if (!instruction.accumulate) {
            if (held != slots.end())
              fail(cat("slot ", instruction.slot, " is overwritten before it is read"));
            slots[instruction.slot] = leaf;
          } else {
            if (held == slots.end() || !are_siblings(n, held->second, leaf))
              fail(cat("microbatch ", instruction.microbatch, " is added out of the tree's order"));
            held->second.end = leaf.end;
          }
          break;
        }
        case Kind::kAddSlot: {
          const auto from = slots.find(instruction.from);
          if (held == slots.end() || from == slots.end() || !are_siblings(n, held->second, from->second))
            fail(cat("slot ", instruction.from, " is added to slot ", instruction.slot,
                     " out of the tree's order"));
          held->second.end = from->second.end;
          slots.erase(from);
          break;
        }
        case Kind::kRound: {
          collectives.emplace_back(instruction.kind, instruction.round);
          if (instruction.microbatch != kIdle) {
            compute_once(instruction.microbatch);
            if (!instruction.round.contains({instruction.microbatch, instruction.microbatch + 1}))
              fail(cat("microbatch ", instruction.microbatch, " is not of this round"));
          }
          int64_t next_leaf = instruction.round.begin;
          for (const RoundSum& sum : instruction.sums) {
            int64_t reached = sum.microbatches.begin;
            for (const auto& earlier : sum.from) {
              const auto found = slots.find(earlier.slot);
              if (found == slots.end() || found->second != earlier.microbatches ||
                  earlier.microbatches.begin != reached)
                fail(cat("slot ", earlier.slot, " is added out of the tree's order"));
              reached = earlier.microbatches.end;
              slots.erase(found);
            }
            if (reached != next_leaf)
              fail(cat("the sum over [", sum.microbatches.begin, ",", sum.microbatches.end,
                       ") leaves a hole"));
            next_leaf = sum.microbatches.end;
            if (!slots.emplace(sum.slot, sum.microbatches).second)
              fail(cat("slot ", sum.slot, " is overwritten before it is read"));
            const std::vector<Range> root = comm::tree_roots(n, sum.microbatches);
            if (root.size() != 1)
              fail(cat("[", sum.microbatches.begin, ",", sum.microbatches.end, ") is no subtree"));
          }
          if (next_leaf != instruction.round.end) fail("the round's sums leave a microbatch out");
          break;
        }
        case Kind::kReduceScatter:
          if (program.roots.empty() &&
              (slots.size() != 1 || slots.begin()->first != 0 || slots.begin()->second != Range{0, n}))
            fail("the rounds do not end with the whole sum in slot 0");
          [[fallthrough]];
        case Kind::kAllReduceNorm:
        case Kind::kAllGatherGradients:
        case Kind::kUpdate:
        case Kind::kAllGather:
          collectives.emplace_back(instruction.kind, Range{});
          break;
      }
      ++position;
    }
    for (const SlotRoot& root : program.roots)
      if (role.computes && root.dp == role.dp &&
          (!slots.contains(root.slot) || slots.at(root.slot) != root.microbatches))
        fail(cat("root [", root.microbatches.begin, ",", root.microbatches.end, ") is not in slot ",
                 root.slot));
    if (!program.roots.empty()) {
      int64_t next = 0;
      for (const SlotRoot& root : program.roots) {
        if (root.microbatches.begin != next) fail("the roots leave a hole");
        next = root.microbatches.end;
      }
      if (next != n) fail("the roots leave a hole");
    }
    if (&program == &programs.front()) collectives_of_first = collectives;
    if (collectives != collectives_of_first) fail("its collectives differ from rank 0's");
  }
  if (programs.empty()) return;
  const int64_t want = programs.front().num_microbatches * programs.front().layout.tp;
  if (std::ssize(computed) != want)
    throw JobError(cat("program - microbatches: got ", computed.size(), " computed, want ", want));
}

std::string print(const Program& program) {
  std::string text = cat("program of rank ", program.rank, " of ", program.layout.devices(), ", ",
                         program.num_microbatches, " microbatches\n");
  const auto range = [](Range r) { return cat("[", r.begin, ",", r.end, ")"); };
  for (const Instruction& i : program.instructions) {
    switch (i.kind) {
      case Kind::kCompute:
        text += cat("  compute microbatch=", i.microbatch, i.accumulate ? " +> " : " -> ", "slot ", i.slot,
                    i.widen ? " fp32" : "", "\n");
        break;
      case Kind::kAddSlot:
        text += cat("  add slot ", i.from, " +> slot ", i.slot, "\n");
        break;
      case Kind::kRound: {
        text += i.microbatch == kIdle ? std::string("  compute nothing")
                                      : cat("  compute microbatch=", i.microbatch);
        text += cat(", reduce_scatter gradients of ", range(i.round));
        for (const RoundSum& sum : i.sums) {
          text += cat(", ", range(sum.microbatches), sum.from.empty() ? " -> " : " +> ", "slot ", sum.slot);
          for (size_t e = 1; e < sum.from.size(); ++e) text += cat(" with slot ", sum.from[e].slot);
        }
        text += "\n";
        break;
      }
      case Kind::kReduceScatter: {
        std::vector<std::string> roots;
        for (const SlotRoot& root : program.roots)
          roots.push_back(cat(range(root.microbatches), "@", root.dp));
        text += roots.empty() ? "  reduce_scatter done, slot 0\n"
                              : cat("  reduce_scatter gradients, roots ", join(roots, " "), "\n");
        break;
      }
      case Kind::kAllReduceNorm:
        text += "  all_reduce norm\n";
        break;
      case Kind::kAllGatherGradients:
        text += "  all_gather gradients\n";
        break;
      case Kind::kUpdate:
        text += "  update owned blocks\n";
        break;
      case Kind::kAllGather:
        text += program.layout.zero >= 3 && program.layout.servers == 0 ? "  all_gather weights on use\n"
                                                                        : "  all_gather weights\n";
        break;
    }
  }
  return text;
}

}  // namespace shoal::lower
