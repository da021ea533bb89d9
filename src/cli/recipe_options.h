// The arguments that say what to run, alike in every command that reads a recipe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/recipe.h"

namespace CLI {
class App;
}

namespace shoal::cli {

struct RecipeOptions {
  std::string recipe;
  std::optional<std::string> devices, layout, from;
  std::vector<std::string> set;
};

/// Declares RECIPE, --devices, --layout, --from and --set.
void add_recipe_options(CLI::App& command, RecipeOptions&);

/// The recipe, with what the arguments change in it. Throws InputError.
app::Recipe load_recipe(const RecipeOptions&);

}  // namespace shoal::cli
