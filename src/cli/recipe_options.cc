#include "cli/recipe_options.h"

#include <CLI/CLI.hpp>

#include "app/start_from.h"
#include "shoal/error.h"

namespace shoal::cli {

void add_recipe_options(CLI::App& command, RecipeOptions& options) {
  command.add_option("RECIPE", options.recipe, "what to train: a TOML file (docs/recipe.md)");
  command
      .add_option("--devices", options.devices,
                  "processes that train together; the answer does not depend on it")
      ->type_name("N");
  command
      .add_option("--layout", options.layout,
                  "how the devices divide the work: auto, axes as in dp=2,tp=2,zero=3 or "
                  "dp=3,owners=servers:1, or a plan file (TOML)")
      ->type_name("LAYOUT");
  command
      .add_option("--from", options.from,
                  "begin with the weights of MODEL (GGUF, Hugging Face folder, checkpoint), which also decides [model]")
      ->type_name("MODEL");
  command
      .add_option("--set", options.set, "change a key of the recipe, as in --set train.steps=100; may be repeated")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
}

app::Recipe load_recipe(const RecipeOptions& options) {
  std::vector<app::Override> overrides;
  if (options.from) overrides = app::keys_of_model(*options.from);
  for (const std::string& assignment : options.set) overrides.push_back(app::parse_override(assignment));
  if (options.devices)
    overrides.push_back({"--devices " + *options.devices, "layout.devices", *options.devices});
  if (options.layout && options.layout->empty())
    throw InputError("--layout - got nothing, want auto, axes as in dp=2,tp=2, or a plan file (TOML)");
  if (options.layout) overrides.push_back({"--layout " + *options.layout, "layout.mesh", *options.layout});
  app::Recipe recipe = app::load_recipe(options.recipe, overrides);
  if (options.from) app::check_tokens(recipe, *options.from);
  return recipe;
}

}  // namespace shoal::cli
