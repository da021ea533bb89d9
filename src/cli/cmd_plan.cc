// shoal plan RECIPE.toml: what each device would do in a step, and the memory it would take. Starts no device.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "app/recipe_model.h"
#include "app/samples.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/recipe_options.h"
#include "cli/usage.h"
#include "lower/memory.h"
#include "session/plan_programs.h"
#include "shoal/error.h"

namespace shoal::cli {
namespace {

struct Options {
  RecipeOptions recipe;
  std::optional<int64_t> rank;
  bool all = false;
};

int run(const Options& options) {
  if (options.recipe.recipe.empty())
    throw InputError("shoal plan - RECIPE: got none, want a recipe (TOML) such as recipes/demo.toml");
  const app::Recipe recipe = load_recipe(options.recipe);
  const auto devices = static_cast<int64_t>(recipe.layout.devices);
  if (options.rank && (*options.rank < 0 || *options.rank >= devices))
    throw InputError(cat("--rank - got ", *options.rank, ", want 0 to ", devices - 1));
  const app::Samples samples = app::open_samples(recipe);
  const std::vector<lower::Program> programs = session::plan_programs(
      app::make_model(recipe), samples.training(0, recipe.microbatch_samples()), app::trainer_options(recipe), devices);
  for (const lower::Program& program : programs)
    if (options.all || program.rank == options.rank.value_or(0)) std::printf("%s\n", lower::print(program).c_str());
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
  plan->callback([options, &invocation] { invocation.chosen = [options] { return run(*options); }; });
}

}  // namespace shoal::cli
