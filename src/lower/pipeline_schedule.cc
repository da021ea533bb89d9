#include "lower/pipeline_schedule.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "base/text.h"
#include "lower/zero_bubble.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

using Pass = Turn::Pass;

constexpr std::pair<Pass, char> kLetters[] = {
    {Pass::kForward, 'F'}, {Pass::kBackward, 'B'}, {Pass::kInputGradient, 'I'}, {Pass::kWeightGradient, 'W'}};

// What others wait for when they wait for a turn: the whole of backward begins with its input gradients.
Turn awaited(Turn turn) {
  if (turn.pass == Pass::kBackward) turn.pass = Pass::kInputGradient;
  return turn;
}

// What must be done before a turn, as awaited(); nothing for the first forward.
std::optional<Turn> needs(const Turn& turn, int stages) {
  const int64_t m = turn.microbatch;
  switch (turn.pass) {
    case Pass::kForward:
      return turn.stage == 0 ? std::nullopt : std::optional(Turn{Pass::kForward, turn.stage - 1, m});
    case Pass::kBackward:
    case Pass::kInputGradient:
      return turn.stage == stages - 1 ? Turn{Pass::kForward, turn.stage, m} : Turn{Pass::kInputGradient, turn.stage + 1, m};
    case Pass::kWeightGradient:
      return Turn{Pass::kInputGradient, turn.stage, m};
  }
  return std::nullopt;
}

// Each device takes its forward and backward turns in fixed orders: `warmup` forwards first, then one of each.
std::vector<Turn> one_forward_one_backward(const std::vector<Turn>& forward, const std::vector<Turn>& backward,
                                           size_t warmup) {
  std::vector<Turn> turns(forward.begin(), forward.begin() + static_cast<std::ptrdiff_t>(std::min(warmup, forward.size())));
  size_t b = 0;
  for (size_t f = turns.size(); f < forward.size(); ++f) {
    turns.push_back(forward[f]);
    turns.push_back(backward[b++]);
  }
  turns.insert(turns.end(), backward.begin() + static_cast<std::ptrdiff_t>(b), backward.end());
  return turns;
}

Grid one_stage_each(const Layout& layout, int64_t n, const auto& warmup_of) {
  Grid grid;
  for (int d = 0; d < layout.pp; ++d) {
    std::vector<Turn> forward, backward;
    for (int64_t m = 0; m < n; ++m) {
      forward.push_back({Pass::kForward, d, m});
      backward.push_back({Pass::kBackward, d, m});
    }
    grid.push_back(one_forward_one_backward(forward, backward, static_cast<size_t>(warmup_of(d))));
  }
  return grid;
}

// Groups of pp microbatches go through all stages of a device one after the other. Where the last group is smaller,
// a device may have to begin more forwards before its first backward.
Grid interleaved(const Layout& layout, int64_t n) {
  const auto pp = static_cast<int>(layout.pp), v = static_cast<int>(layout.stages_per_device);
  for (int64_t more = 0;; ++more) {
    Grid grid;
    for (int d = 0; d < pp; ++d) {
      std::vector<Turn> forward, backward;
      for (int64_t begin = 0; begin < n; begin += pp)
        for (int c = 0; c < v; ++c)
          for (int64_t m = begin; m < std::min<int64_t>(begin + pp, n); ++m) {
            forward.push_back({Pass::kForward, d + c * pp, m});
            backward.push_back({Pass::kBackward, d + (v - 1 - c) * pp, m});
          }
      grid.push_back(one_forward_one_backward(forward, backward, static_cast<size_t>((pp - d - 1) * 2 + (v - 1) * pp + more)));
    }
    try {
      simulate(grid, layout, n);
      return grid;
    } catch (const InputError&) {
      if (more > n * v) throw;
    }
  }
}

}  // namespace

std::string print(const Turn& turn) {
  const auto* letter = std::ranges::find(kLetters, turn.pass, &std::pair<Pass, char>::first);
  return cat(turn.stage, letter->second, turn.microbatch);
}

double unit_cost(const Turn& turn) { return turn.pass == Pass::kBackward ? 2 : 1; }

int device_of_stage(const Layout& layout, int stage) {
  const auto pp = static_cast<int>(layout.pp);
  return layout.schedule == Schedule::kZeroBubbleV && stage >= pp ? 2 * pp - 1 - stage : stage % pp;
}

int64_t num_microbatches(const Grid& grid) {
  int64_t count = 0;
  for (const auto& turns : grid)
    for (const Turn& turn : turns) count = std::max(count, turn.microbatch + 1);
  return count;
}

bool splits_first_stage(const Grid& grid) {
  return std::ranges::any_of(grid, [](const auto& turns) {
    return std::ranges::any_of(turns, [](const Turn& turn) { return turn.stage == 0 && turn.pass == Pass::kInputGradient; });
  });
}

std::vector<Turn> turns_of_microbatch(const Grid& grid, int device, int64_t microbatch) {
  std::vector<Turn> turns;
  for (const Turn& turn : grid.at(static_cast<size_t>(device)))
    if (turn.microbatch == microbatch) turns.push_back(turn);
  return turns;
}

Grid schedule_pipeline(const Layout& layout, int64_t n, const TurnCost& cost) {
  switch (layout.schedule) {
    case Schedule::kGPipe:
      return one_stage_each(layout, n, [&](int) { return n; });
    case Schedule::k1F1B:
      return one_stage_each(layout, n, [&](int d) { return layout.pp - 1 - d; });
    case Schedule::kInterleaved1F1B:
      return interleaved(layout, n);
    case Schedule::kZeroBubble:
    case Schedule::kZeroBubbleH2:
    case Schedule::kZeroBubbleV:
      return zero_bubble(layout, n, cost);
  }
  return {};
}

Timeline simulate(const Grid& grid, const Layout& layout, int64_t n, const TurnCost& cost_of) {
  const auto stages = static_cast<int>(layout.stages());
  const auto refuse = [&](size_t device, size_t turn, const std::string& why) {
    throw InputError(cat("pipeline - schedule: ", why, ":\n", print(grid, static_cast<int>(device), turn)));
  };
  if (std::ssize(grid) != layout.pp)
    throw InputError(cat("pipeline - schedule: got ", grid.size(), " lines, want ", layout.pp, ", one for each device"));
  std::map<Turn, double> ends;  // by what is awaited
  std::set<Turn> seen;
  Timeline line{.begins = std::vector<std::vector<double>>(grid.size()),
                .ends = std::vector<std::vector<double>>(grid.size()),
                .busy = std::vector<double>(grid.size(), 0)};
  for (size_t d = 0; d < grid.size(); ++d)
    for (size_t t = 0; t < grid[d].size(); ++t) {
      const Turn& turn = grid[d][t];
      if (turn.stage < 0 || turn.stage >= stages || device_of_stage(layout, turn.stage) != static_cast<int>(d))
        refuse(d, t, cat("device ", d, " does not have stage ", turn.stage));
      if (turn.microbatch < 0 || turn.microbatch >= n) refuse(d, t, cat("there is no microbatch ", turn.microbatch));
      if (!seen.insert(turn).second) refuse(d, t, "a pass comes twice");
    }
  for (int stage = 0; stage < stages; ++stage)
    for (int64_t m = 0; m < n; ++m) {
      const auto has = [&](Pass pass) { return seen.contains({pass, stage, m}); };
      const auto device = static_cast<size_t>(device_of_stage(layout, stage));
      const char* missing = !has(Pass::kForward)                                                ? "forward"
                            : has(Pass::kBackward) == has(Pass::kInputGradient)                 ? "one backward"
                            : has(Pass::kInputGradient) != has(Pass::kWeightGradient)           ? "weight gradient"
                                                                                                : nullptr;
      if (missing) refuse(device, grid[device].size(), cat("stage ", stage, " has no ", missing, " of microbatch ", m));
    }
  for (size_t d = 0; d < grid.size(); ++d) {
    std::vector<std::vector<std::pair<Pass, int>>> passes(static_cast<size_t>(n));  // by microbatch, B as I and W
    std::map<std::pair<Pass, int>, int64_t> next;
    for (size_t t = 0; t < grid[d].size(); ++t) {
      const Turn& turn = grid[d][t];
      auto &mine = passes[static_cast<size_t>(turn.microbatch)], &first = passes[0];
      const auto add = [&](Pass pass) {
        if (turn.microbatch != next[{pass, turn.stage}]++)
          refuse(d, t, cat("a pass takes microbatches in order, and ", next[{pass, turn.stage}] - 1, " is next"));
        mine.emplace_back(pass, turn.stage);
        if (mine.size() > first.size() || mine.back() != first[mine.size() - 1])
          refuse(d, t, cat("device ", d, " takes microbatch ", turn.microbatch, " through its passes in another order than microbatch 0"));
      };
      add(awaited(turn).pass);
      if (turn.pass == Pass::kBackward) add(Pass::kWeightGradient);
    }
  }
  std::vector<double> now(grid.size(), 0);
  for (bool goes_on = true; goes_on;) {
    goes_on = false;
    for (size_t d = 0; d < grid.size(); ++d)
      while (line.begins[d].size() < grid[d].size()) {
        const Turn& turn = grid[d][line.begins[d].size()];
        double begin = now[d];
        if (const auto before = needs(turn, stages)) {
          const auto found = ends.find(*before);
          if (found == ends.end()) break;
          begin = std::max(begin, found->second);
        }
        const double cost = cost_of(turn);
        line.begins[d].push_back(begin);
        line.busy[d] += cost;
        now[d] = begin + cost;
        ends[awaited(turn)] = turn.pass == Pass::kBackward ? begin + cost_of(awaited(turn)) : now[d];
        line.ends[d].push_back(now[d]);
        line.length = std::max(line.length, now[d]);
        goes_on = true;
      }
  }
  for (size_t d = 0; d < grid.size(); ++d)
    if (line.begins[d].size() < grid[d].size())
      refuse(d, line.begins[d].size(), cat("device ", d, " waits for ever"));
  return line;
}

int most_sent_ahead(const Grid& grid, const Timeline& line, size_t sender, size_t receiver,
                    const std::function<bool(const Turn&)>& sends) {
  std::map<int64_t, double> done;  // by microbatch, on the receiver
  for (size_t t = 0; t < grid[receiver].size(); ++t) done[grid[receiver][t].microbatch] = line.ends[receiver][t];
  int sent = 0, most = 0;
  for (size_t t = 0; t < grid[sender].size(); ++t) {
    if (!sends(grid[sender][t])) continue;
    const auto gone =
        std::ranges::count_if(done, [&](const auto& each) { return each.second <= line.begins[sender][t]; });
    most = std::max(most, ++sent - static_cast<int>(gone));
  }
  return most;
}

int in_flight(const std::vector<Turn>& turns) {
  std::map<int64_t, size_t> last;
  for (size_t t = 0; t < turns.size(); ++t) last[turns[t].microbatch] = t;
  std::set<int64_t> open;
  size_t most = 0;
  for (size_t t = 0; t < turns.size(); ++t) {
    open.insert(turns[t].microbatch);
    most = std::max(most, open.size());
    if (last[turns[t].microbatch] == t) open.erase(turns[t].microbatch);
  }
  return static_cast<int>(most);
}

std::string print(const Grid& grid, int device, size_t marked) {
  std::string text;
  for (size_t d = 0; d < grid.size(); ++d) {
    for (size_t t = 0; t <= grid[d].size(); ++t) {
      const bool is_marked = static_cast<int>(d) == device && t == marked;
      if (t == grid[d].size() && !is_marked) break;
      const std::string turn = t < grid[d].size() ? print(grid[d][t]) : std::string();
      text += cat(t > 0 ? " " : "", is_marked ? cat("[", turn, "]") : turn);
    }
    text += "\n";
  }
  return text;
}

Grid parse_grid(const std::string& text) {
  Grid grid;
  std::string lines = text;
  std::ranges::replace(lines, ';', '\n');
  for (const char blank : {'\t', '\r'}) std::ranges::replace(lines, blank, ' ');
  for (const std::string& line : split(lines, '\n')) {
    std::vector<Turn> turns;
    for (const std::string& word : split(line, ' ')) {
      if (word.empty()) continue;
      Turn turn{};
      const char* const end = word.data() + word.size();
      const auto [letter, no_stage] = std::from_chars(word.data(), end, turn.stage);
      const auto* const known = letter == end ? std::end(kLetters)
                                              : std::ranges::find(kLetters, *letter, &std::pair<Pass, char>::second);
      if (no_stage == std::errc() && known != std::end(kLetters)) {
        turn.pass = known->first;
        const auto [rest, no_microbatch] = std::from_chars(letter + 1, end, turn.microbatch);
        constexpr int64_t kMost = 1 << 20;
        if (no_microbatch == std::errc() && rest == end && turn.microbatch < kMost) {
          turns.push_back(turn);
          continue;
        }
      }
      throw InputError(cat("pipeline - schedule: got \"", word, "\", want a stage, F, B, I or W, and a microbatch, as in 0F1"));
    }
    if (!turns.empty()) grid.push_back(std::move(turns));
  }
  if (grid.empty() && !text.empty())
    throw InputError(cat("pipeline - schedule: got \"", text, "\", want a line of passes for each device, as in 0F0 0B0"));
  return grid;
}

}  // namespace shoal::lower
