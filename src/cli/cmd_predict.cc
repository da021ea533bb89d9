// shoal predict CHECKPOINT --out FILE: what a trained model makes of a data set, on any number of devices.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "app/predict.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/recipe_options.h"
#include "cli/usage.h"
#include "comm/launch.h"
#include "data/sample_manifest.h"
#include "shoal/error.h"
#include "shoal/world.h"
#include "state/checkpoint.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

struct Options : RecipeOptions {
  std::string data;
  app::PredictOptions predict;
};

/// The recipe of the run that the checkpoint is of lies in the run's folder, beside the checkpoints.
fs::path recipe_of(const fs::path& checkpoint) {
  const fs::path recipe = checkpoint.parent_path().parent_path() / "recipe.toml";
  std::error_code ignored;
  if (!fs::exists(recipe, ignored))
    throw InputError(cat(checkpoint.string(), " - there is no ", recipe.string(),
                         " beside it, as shoal train leaves it; name the recipe of the run with --recipe FILE"));
  return recipe;
}

/// Fills in what was left out.
app::Recipe settle(Options& options) {
  options.predict.checkpoint = fs::absolute(state::Checkpoint(options.predict.checkpoint).folder());
  if (options.recipe.empty()) options.recipe = recipe_of(options.predict.checkpoint).string();
  if (!options.data.empty()) {
    options.set.push_back(cat("data.source=", data::is_sample_store(options.data) ? "samples" : "store"));
    options.set.push_back("data.path=" + options.data);
  }
  return load_recipe(options);
}

void predict_here(World& world, Options options) {
  const app::Recipe recipe = settle(options);
  const app::Predicted made = app::predict(world, recipe, options.predict);
  if (world.rank() != 0) return;
  std::printf("%s: %s of %lld samples; %.4f of %lld answers are the data's\n", options.predict.out.c_str(),
              options.predict.logits ? "logits" : "classes", static_cast<long long>(made.samples),
              static_cast<double>(made.right) / static_cast<double>(made.answers),
              static_cast<long long>(made.answers));
}

int run(Options options, const Invocation& invocation) {
  const auto here = [&](World& world) { predict_here(world, options); };
  if (comm::is_launched()) return guarded_main(invocation.argc, invocation.argv, here);
  comm::check_started_once();
  const app::Recipe recipe = settle(options);
  app::check_predict(recipe, options.predict);
  if (recipe.layout.devices > 1)
    return comm::launch({static_cast<int>(recipe.layout.devices),
                         {invocation.argv, invocation.argv + invocation.argc}, "shoal"});
  World world(invocation.argc, invocation.argv);
  here(world);
  return 0;
}

}  // namespace

void add_predict(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const predict = app.add_subcommand(
      "predict", "Run a trained model over a data set, on any number of devices, into one file");
  predict
      ->add_option("CHECKPOINT", options->predict.checkpoint,
                   "a checkpoint of shoal train, a link to one, or a folder of checkpoints (then the latest)")
      ->required();
  predict->add_option("--out", options->predict.out, "the safetensors file to write: predictions, in order of the samples")
      ->type_name("FILE")
      ->required();
  predict->add_option("--data", options->data, "another store than the run's")->type_name("STORE");
  predict->add_option("--split", options->predict.split, "validation, unless told, or train")->type_name("SPLIT");
  number<int64_t>(predict->add_option("--samples", options->predict.samples,
                                      "the first so many; validation.samples of the recipe unless told"))
      ->type_name("N");
  predict->add_flag("--logits", options->predict.logits, "write what the model returns, not the likeliest class");
  predict->add_option("--recipe", options->recipe, "of the run; unless told, the one in its folder")->type_name("FILE");
  predict->add_option("--devices", options->devices, "processes that compute together; no bit depends on it")
      ->type_name("N");
  predict->add_option("--layout", options->layout, "how they divide the work, as for shoal train")->type_name("LAYOUT");
  predict->callback([options, &invocation] {
    if (options->predict.samples < 0)
      throw InputError(cat("--samples - got ", options->predict.samples, ", want at least 0"));
    invocation.chosen = [options, &invocation] { return run(*options, invocation); };
  });
}

}  // namespace shoal::cli
