// shoal plan RECIPE.toml: what each device would do in a step, and the memory it would take. Starts no device.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "app/recipe_model.h"
#include "app/samples.h"
#include "app/timeline.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/recipe_options.h"
#include "cli/usage.h"
#include "lower/memory.h"
#include "lower/pipeline_schedule.h"
#include "session/plan_programs.h"
#include "shoal/error.h"

namespace shoal::cli {
namespace {

struct Options {
  RecipeOptions recipe;
  std::optional<int64_t> rank;
  bool all = false;
  std::optional<std::string> timeline;
};

std::string in_milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", 1e3 * seconds);
  return text;
}

// Where the stages begin and what each costs, in which order they are computed, and how long devices would wait.
void show_pipeline(const session::Planned& plan, int64_t microbatches, const std::optional<std::string>& file) {
  std::puts("stages, with what a microbatch costs on this machine (forward, backward):");
  for (size_t stage = 0; stage < plan.costs.size(); ++stage) {
    const auto& [forward, backward, weights] = plan.costs[stage];
    std::printf("  stage %zu on device %d: %s, %s; begins %s\n", stage, lower::device_of_stage(plan.layout, static_cast<int>(stage)),
                in_milliseconds(forward).c_str(), in_milliseconds(backward + weights).c_str(),
                stage == 0 ? "the model" : cat("with ", plan.cut[stage - 1]).c_str());
  }
  const int64_t count = std::ranges::count(plan.programs[0].dealt, 0);  // of the first pipeline
  const lower::Grid& grid = plan.grid;
  const lower::Timeline line = lower::simulate(grid, plan.layout, count, lower::turn_cost(plan.costs));
  std::printf("schedule of %lld of %lld microbatches, a line for each device:\n%s", static_cast<long long>(count),
              static_cast<long long>(microbatches), lower::print(grid).c_str());
  for (size_t d = 0; d < grid.size(); ++d)
    std::printf("device %zu: %d microbatches in flight, idle %.1f %%\n", d, lower::in_flight(grid[d]),
                100 * (1 - line.busy[d] / line.length));
  if (!file) return;
  app::write_timeline(
      *file, app::draw_schedule(grid, line, cat(print(plan.layout), ", ", count, " microbatches, as predicted")));
  std::printf("drawn in %s\n", file->c_str());
}

int run(const Options& options) {
  if (options.recipe.recipe.empty())
    throw InputError("shoal plan - RECIPE: got none, want a recipe (TOML) such as recipes/demo.toml");
  const app::Recipe recipe = load_recipe(options.recipe);
  const auto devices = static_cast<int64_t>(recipe.layout.devices);
  if (options.rank && (*options.rank < 0 || *options.rank >= devices))
    throw InputError(cat("--rank - got ", *options.rank, ", want 0 to ", devices - 1));
  const app::Samples samples = app::open_samples(recipe);
  const session::Planned plan = session::plan_programs(
      app::make_model(recipe), samples.training(0, recipe.microbatch_samples()), app::trainer_options(recipe), devices);
  const std::vector<lower::Program>& programs = plan.programs;
  if (options.timeline && plan.layout.pp == 1)
    throw InputError("--timeline - layout: got no pipeline, want one to draw, as with --layout pp=2");
  for (const lower::Program& program : programs)
    if (options.all || program.rank == options.rank.value_or(0)) std::printf("%s\n", lower::print(program).c_str());
  if (plan.layout.pp > 1) show_pipeline(plan, recipe.train.microbatches, options.timeline);
  std::puts("memory of each device:");
  for (const lower::Program& program : programs)
    std::printf("rank %d: %s\n", program.rank, lower::print(lower::memory_of(program)).c_str());
  return 0;
}

}  // namespace

void add_plan(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const plan =
      app.add_subcommand("plan", "Print what each device would do in a step, and its memory; starts none");
  add_recipe_options(*plan, options->recipe);
  CLI::Option* const rank =
      number<int64_t>(plan->add_option("--rank", options->rank, "whose Program to print (default: 0)"))->type_name("R");
  plan->add_flag("--all", options->all, "print the Programs of all ranks")->excludes(rank);
  plan->add_option("--timeline", options->timeline, "draw the schedule of the stages, as predicted (SVG)")->type_name("FILE");
  plan->callback([options, &invocation] { invocation.chosen = [options] { return run(*options); }; });
}

}  // namespace shoal::cli
