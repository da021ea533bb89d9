#include "lower/zero_bubble.h"

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

namespace shoal::lower {
namespace {

using Pass = Turn::Pass;

// ZB-H1 as the paper gives it, for passes that cost alike: 1F1B whose weight gradients come d behind on device d, so
// that no device has more than pp microbatches in flight, and fill the waits at the end.
Grid handcrafted(const Layout& layout, int64_t n) {
  Grid grid;
  for (int d = 0; d < layout.pp; ++d) {
    std::vector<Turn>& turns = grid.emplace_back();
    int64_t forward = 0, input = 0, weight = 0;  // done
    const auto take = [&](Pass pass, int64_t& count) { turns.push_back({pass, d, count++}); };
    while (forward < std::min(n, layout.pp - 1 - d)) take(Pass::kForward, forward);
    while (input < n) {
      const bool is_steady = forward < n;
      if (is_steady) take(Pass::kForward, forward);
      take(Pass::kInputGradient, input);
      if (input - weight > (is_steady ? d : 0)) take(Pass::kWeightGradient, weight);
    }
    while (weight < n) take(Pass::kWeightGradient, weight);
  }
  return grid;
}

// Whoever can begin first takes a turn: input gradients before forward before weight gradients, later stages before
// earlier ones. A microbatch goes through a device in one order: forward, input gradients, weight gradients of its
// stages. At most `limit` of them are in flight on a device.
class Greedy {
 public:
  Greedy(const Layout& layout, int64_t n, int64_t limit, const TurnCost& cost)
      : layout_(layout), n_(n), limit_(limit), cost_(cost), stages_of_(static_cast<size_t>(layout.pp)),
        now_(static_cast<size_t>(layout.pp), 0), next_(kPasses.size() * static_cast<size_t>(layout.stages()), 0),
        ends_(next_.size() * static_cast<size_t>(n), -1), grid_(static_cast<size_t>(layout.pp)) {
    for (int stage = 0; stage < layout.stages(); ++stage)
      stages_of_[static_cast<size_t>(device_of_stage(layout, stage))].push_back(stage);
  }

  Grid run() {
    for (int64_t left = 3 * n_ * layout_.stages(); left > 0; --left) {
      std::optional<Choice> best;
      for (size_t d = 0; d < grid_.size(); ++d)
        if (const auto choice = choice_of(d); choice && (!best || choice->begin < best->begin)) best = choice;
      take(best.value());  // the microbatch begun first can always go on
    }
    return std::move(grid_);
  }

 private:
  struct Choice {
    double begin;
    int rank;   // the lower the better
    int stage;  // the later the better
    Turn turn;
    size_t device;
    auto key() const { return std::tuple(begin, rank, -stage); }
  };
  static constexpr std::array kPasses = {Pass::kInputGradient, Pass::kForward, Pass::kWeightGradient};

  size_t at(Pass pass, int stage) const {
    return static_cast<size_t>(std::ranges::find(kPasses, pass) - kPasses.begin()) * static_cast<size_t>(layout_.stages()) +
           static_cast<size_t>(stage);
  }
  double& end_of(Pass pass, int stage, int64_t m) { return ends_[at(pass, stage) * static_cast<size_t>(n_) + static_cast<size_t>(m)]; }
  int64_t& next(Pass pass, int stage) { return next_[at(pass, stage)]; }
  bool is_done(Pass pass, int stage, int64_t m) { return next(pass, stage) > m; }

  // When what it needs is there; nothing while it has not been scheduled.
  std::optional<double> ready(const Turn& turn, const std::vector<int>& stages) {
    const auto end = [&](Pass pass, int stage) -> std::optional<double> {
      const double when = end_of(pass, stage, turn.microbatch);
      return when < 0 ? std::nullopt : std::optional(when);
    };
    switch (turn.pass) {
      case Pass::kForward:
        if (turn.stage == stages.front() && turn.microbatch - next(Pass::kWeightGradient, stages.front()) >= limit_)
          return std::nullopt;
        return turn.stage == 0 ? 0 : end(Pass::kForward, turn.stage - 1);
      case Pass::kInputGradient:
        if (!is_done(Pass::kForward, turn.stage, turn.microbatch)) return std::nullopt;
        return turn.stage == layout_.stages() - 1 ? end(Pass::kForward, turn.stage) : end(Pass::kInputGradient, turn.stage + 1);
      default:
        if (turn.stage != stages.back() && !is_done(Pass::kWeightGradient, stages.back(), turn.microbatch)) return std::nullopt;
        return end(Pass::kInputGradient, stages.front());
    }
  }
  std::optional<Choice> choice_of(size_t device) {
    std::optional<Choice> best;
    for (const int stage : stages_of_[device])
      for (size_t rank = 0; rank < kPasses.size(); ++rank) {
        const Turn turn{kPasses[rank], stage, next(kPasses[rank], stage)};
        if (turn.microbatch >= n_) continue;
        const auto begin = ready(turn, stages_of_[device]);
        if (!begin) continue;
        const Choice choice{std::max(*begin, now_[device]), static_cast<int>(rank), stage, turn, device};
        if (!best || choice.key() < best->key()) best = choice;
      }
    return best;
  }
  void take(const Choice& choice) {
    grid_[choice.device].push_back(choice.turn);
    ++next(choice.turn.pass, choice.turn.stage);
    end_of(choice.turn.pass, choice.turn.stage, choice.turn.microbatch) = now_[choice.device] = choice.begin + cost_(choice.turn);
  }

  const Layout& layout_;
  const int64_t n_, limit_;
  const TurnCost& cost_;
  std::vector<std::vector<int>> stages_of_;  // by device
  std::vector<double> now_;                  // by device
  std::vector<int64_t> next_;  // microbatches done, by pass and stage
  std::vector<double> ends_;   // by pass, stage and microbatch; -1: not scheduled
  Grid grid_;
};

}  // namespace

Grid zero_bubble(const Layout& layout, int64_t n, const TurnCost& cost) {
  std::vector<Grid> all;
  const auto add = [&](int64_t limit) { all.push_back(Greedy(layout, n, limit, cost).run()); };
  if (layout.schedule != Schedule::kZeroBubbleV) all.push_back(handcrafted(layout, n));
  add(layout.pp);
  if (layout.schedule == Schedule::kZeroBubbleV) add(layout.pp + 1);
  if (layout.schedule == Schedule::kZeroBubbleH2)
    for (const int64_t limit : {layout.pp + 1, (3 * layout.pp) / 2, 2 * layout.pp - 1}) add(limit);
  std::vector<double> lengths;
  for (const Grid& grid : all) lengths.push_back(simulate(grid, layout, n, cost).length);
  return all[static_cast<size_t>(std::ranges::min_element(lengths) - lengths.begin())];
}

}  // namespace shoal::lower
