// The file of TrainerOptions::trace: JSON of the Chrome trace event format, whole after every step.
#include "session/trace_file.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "models/mlp.h"
#include "shoal/shoal.h"
#include "state/support.h"
#include "support/expect_error.h"

namespace shoal::session {
namespace {

using models::Mlp;
using nlohmann::json;
using state::read_text;
using state::TemporaryFolder;

const models::MlpConfig kConfig{.inputs = 6, .width = 9, .layers = 2, .outputs = 3};

torch::Tensor loss(Mlp& mlp, const Batch& batch) {
  return torch::cross_entropy_loss(mlp(batch[0]), batch[1]);
}
Batch batch_of(int64_t seed) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return {torch::randn({8, kConfig.inputs}, generator),
          torch::randint(kConfig.outputs, {8}, generator, torch::kLong)};
}
auto model() {
  return describe([] { return Mlp(kConfig); });
}

struct Trained {
  std::vector<float> losses;
  std::vector<std::vector<StepResult::Seconds>> seconds;  // by rank and step
  std::vector<std::vector<std::string>> programs;         // by rank: the lines of its instructions
};
Trained train(const Layout& layout, const TraceOptions& trace, int64_t steps) {
  const auto devices = static_cast<size_t>(layout.devices());
  Trained run{{},
              std::vector<std::vector<StepResult::Seconds>>(devices),
              std::vector<std::vector<std::string>>(devices)};
  World::threads(static_cast<int>(devices), [&](World& world) {
    const auto rank = static_cast<size_t>(world.rank());
    Trainer trainer(world, model(), loss,
                    {.optimizer = Sgd{.lr = 0.1}, .microbatches = 4, .layout = layout, .trace = trace});
    for (int64_t step = 0; step < steps; ++step) {
      const StepResult result = trainer.step(batch_of(step));
      run.seconds[rank].push_back(result.seconds);
      if (rank == 0) run.losses.push_back(result.loss);
      const bool writes = rank == 0 && !trace.file.empty();
      EXPECT_TRUE(!writes || json::accept(read_text(trace.file)));
    }
    const std::string plan = trainer.plan();
    for (const std::string& line : split(plan.substr(0, plan.find("memory of this device")), '\n'))
      if (line.starts_with("  ")) run.programs[rank].push_back(line.substr(2));
  });
  return run;
}

TEST(TraceFile, HasTheStepsThatAreAskedForOnEveryDevice) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "trace.json";
  const Layout layout{.dp = 2, .pp = 2};
  const Trained run = train(layout, {.file = file, .skip = 1, .count = 2}, 4);
  const json trace = json::parse(read_text(file));
  EXPECT_EQ(trace["otherData"]["layout"], print(layout));
  using Place = std::pair<int64_t, int64_t>;            // rank and step
  std::map<Place, std::map<std::string, double>> sums;  // seconds by category
  std::map<Place, std::vector<std::string>> instructions;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const Place place{event["pid"], event["args"]["step"]};
    if (event["cat"] != "wait") instructions[place].push_back(event["args"]["instruction"]);
    sums[place][event["cat"]] += 1e-6 * event["dur"].get<double>();
  }
  for (const auto& [place, lines] : instructions)
    EXPECT_EQ(lines, run.programs[static_cast<size_t>(place.first)]) << place.first;
  EXPECT_EQ(sums.size(), 8U);
  for (auto& [place, by_category] : sums) {
    const auto& [rank, step] = place;
    EXPECT_TRUE(step == 1 || step == 2) << step;
    const StepResult::Seconds& s = run.seconds[static_cast<size_t>(rank)][static_cast<size_t>(step)];
    EXPECT_LE(by_category["wait"], s.wait + 1e-6);  // of which the step's agreement is no instruction
    EXPECT_NEAR(by_category["update"], s.update, 1e-6);
    // Events of instructions have their waits in them.
    const double all = by_category["compute"] + by_category["reduce"] + by_category["gather"];
    EXPECT_NEAR(all, s.compute + s.reduce + s.gather + by_category["wait"], 1e-6);
  }
  EXPECT_EQ(train(layout, {}, 4).losses, run.losses);
}

TEST(TraceFile, IsEmptyAndWholeBeforeTheFirstStep) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "trace.json";
  train({}, {.file = file, .skip = 1}, 1);
  for (const json& event : json::parse(read_text(file))["traceEvents"]) EXPECT_EQ(event["ph"], "M");
}

TEST(TraceFile, WhatCannotBeIsRefused) {
  World world{comm::single()};
  const auto make = [&](const TraceOptions& trace) { Trainer(world, model(), loss, {.trace = trace}); };
  EXPECT_ERROR(
      make({.file = "/nowhere/t.json"}), InputError,
      "trace - /nowhere/t.json: cannot be written: No such file or directory; name a file that can be");
  EXPECT_ERROR(make({.skip = -1}), InputError, "trainer - trace.skip: got -1 steps, want 0 or more");
  EXPECT_ERROR(make({.count = 0}), InputError,
               "trainer - trace.count: got 0 steps, want 1 or more; name no file for no trace");
}

TEST(TraceFile, DevicesAgreeOnIt) {
  const TemporaryFolder folder;
  World::threads(2, [&](World& world) {
    TrainerOptions options{.microbatches = 2};
    options.trace = {.file = folder.path() / "t.json", .skip = world.rank()};
    Trainer trainer(world, model(), loss, options);
    const std::string path = (folder.path() / "t.json").string();
    EXPECT_ERROR(trainer.step(batch_of(0)), InputError,
                 cat("trainer - step 0: rank 1 has trace ", path, " of 4 steps after 1, rank 0 has ", path,
                     " of 4 steps after 0; every device must run the same program"));
  });
}

}  // namespace
}  // namespace shoal::session
