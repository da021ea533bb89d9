#include "lower/gradient_schedule.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "comm/reduce.h"
#include "mesh/layout.h"
#include "mesh/role.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

using Step = GradientSchedule::Step;

struct Accumulation {
  std::vector<Step> steps;
  std::vector<PartialSum> roots;
  int num_accumulators = 0;
};

Accumulation accumulate(int64_t n, int dp, Range held) {
  Accumulation plan;
  std::set<int> free;
  const auto take = [&] {
    if (free.empty()) free.insert(plan.num_accumulators++);
    return free.extract(free.begin()).value();
  };
  auto& open = plan.roots;
  for (int64_t m = held.begin; m < held.end; ++m) {
    Step step{.microbatch = m, .accumulator = -1, .adds = false, .widens = false, .then = {}};
    if (!open.empty() && are_siblings(n, open.back().microbatches, {m, m + 1})) {
      step.accumulator = open.back().accumulator;
      step.adds = true;
      open.back().microbatches.end = m + 1;
    } else {
      step.accumulator = take();
      open.push_back({{m, m + 1}, dp, step.accumulator});
    }
    while (open.size() >= 2 && are_siblings(n, open[open.size() - 2].microbatches, open.back().microbatches)) {
      const PartialSum right = open.back();
      open.pop_back();
      step.then.push_back({open.back().accumulator, right.accumulator});
      open.back().microbatches.end = right.microbatches.end;
      free.insert(right.accumulator);
    }
    plan.steps.push_back(std::move(step));
  }
  for (PartialSum& root : plan.roots) root.in_fp32 = root.microbatches.size() > 1;
  for (Step& step : plan.steps)
    for (const PartialSum& root : plan.roots)
      if (!step.adds && root.microbatches.contains({step.microbatch, step.microbatch + 1}))
        step.widens = root.in_fp32;
  return plan;
}

// After round k an owner keeps the roots of the tree inside [0, (k+1) dp): those before, which this round's
// leaves did not reach, and new ones.
std::vector<GradientSchedule::Round> rounds(int64_t n, int64_t dp, int* num_accumulators) {
  std::vector<GradientSchedule::Round> all;
  std::vector<PartialSum> kept;
  for (int64_t begin = 0; begin < n; begin += dp) {
    GradientSchedule::Round round{{begin, std::min(begin + dp, n)}, {}};
    std::vector<PartialSum> next;
    std::set<int> taken;
    for (const PartialSum& earlier : kept) taken.insert(earlier.accumulator);
    for (const Range& root : comm::tree_roots(n, {0, round.microbatches.end})) {
      Sum sum{root, -1, {}};
      for (const PartialSum& earlier : kept)
        if (root.contains(earlier.microbatches)) sum.terms.push_back(earlier);
      if (!sum.terms.empty() && sum.terms[0].microbatches == root) {
        next.push_back(sum.terms[0]);
        continue;
      }
      if (sum.terms.empty())
        for (sum.accumulator = 0; taken.contains(sum.accumulator);) ++sum.accumulator;
      else
        sum.accumulator = sum.terms[0].accumulator;
      for (const PartialSum& earlier : sum.terms) taken.erase(earlier.accumulator);
      taken.insert(sum.accumulator);
      *num_accumulators = std::max(*num_accumulators, sum.accumulator + 1);
      next.push_back({root, -1, sum.accumulator});
      for (int64_t m = std::max(root.begin, begin); m < root.end; ++m)
        sum.terms.push_back({{m, m + 1}, static_cast<int>(m - begin), -1, false});
      round.sums.push_back(std::move(sum));
    }
    kept = std::move(next);
    all.push_back(std::move(round));
  }
  return all;
}

}  // namespace

bool are_siblings(int64_t n, Range a, Range b) {
  for (Range node{0, n}; node.size() >= 2;) {
    const int64_t split = comm::tree_split(node);
    if (node.begin == a.begin && node.end == b.end) return split == a.end && a.end == b.begin;
    node = b.end <= split ? Range{node.begin, split} : Range{split, node.end};
    if (!node.contains({a.begin, b.end})) return false;
  }
  return false;
}

Sum GradientSchedule::total() const {
  const Range all{0, num_microbatches};
  if (rounds.empty()) return {all, -1, roots};
  return {all, -1, {{all, -1, 0}}};
}

const PartialSum* GradientSchedule::root_of(int dp) const {
  const auto found = std::ranges::find(roots, dp, &PartialSum::dp);
  return found == roots.end() ? nullptr : &*found;
}

GradientSchedule schedule_gradients(int64_t num_microbatches, const Layout& layout, int rank) {
  if (layout.dp > num_microbatches)
    throw InputError(cat("layout - dp: got ", layout.dp, ", want at most ", num_microbatches,
                         " (train.microbatches), since a microbatch is never divided; raise microbatches or "
                         "use fewer devices"));
  GradientSchedule schedule{.num_microbatches = num_microbatches};
  if (mesh::shards_gradients(layout)) {
    for (int64_t m = 0; m < num_microbatches; ++m) schedule.dealt.push_back(static_cast<int>(m % layout.dp));
    schedule.rounds = rounds(num_microbatches, layout.dp, &schedule.num_accumulators);
    return schedule;
  }
  const mesh::Role role = mesh::role_of(layout, rank);
  const bool replicated = mesh::replicates_optimizer(layout);
  for (int d = 0; d < layout.dp; ++d) {
    const Range mine = share(num_microbatches, layout.dp, d);
    schedule.dealt.insert(schedule.dealt.end(), static_cast<size_t>(mine.size()), d);
    Accumulation plan = accumulate(num_microbatches, d, mine);
    // Sums that others will copy are made where a root lies, so all roots are fp32.
    if (replicated) {
      for (Step& step : plan.steps) step.widens |= !step.adds;
      for (PartialSum& root : plan.roots) root.in_fp32 = true;
    }
    schedule.roots.insert(schedule.roots.end(), plan.roots.begin(), plan.roots.end());
    if (!role.computes || d != role.dp) continue;
    schedule.steps = std::move(plan.steps);
    schedule.num_accumulators = plan.num_accumulators;
  }
  return schedule;
}

}  // namespace shoal::lower
