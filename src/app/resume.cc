#include "app/resume.h"

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "app/recipe_keys.h"
#include "base/text.h"
#include "session/run_definition.h"
#include "shoal/error.h"

namespace shoal::app {
namespace {

using nlohmann::json;

/// Where the run definition has a key of the recipe (run_definition.cc).
const std::map<std::string, std::string> kPlaces = {
    {"train.steps", "/schedule/total_steps"},
    {"train.microbatches", "/microbatches"},
    {"train.seed", "/seed"},
    {"train.precision", "/precision"},
    {"optimizer.name", "/optimizer/name"},
    {"optimizer.lr", "/optimizer/lr"},
    {"optimizer.betas", "/optimizer/betas"},
    {"optimizer.eps", "/optimizer/eps"},
    {"optimizer.momentum", "/optimizer/momentum"},
    {"optimizer.nesterov", "/optimizer/nesterov"},
    {"optimizer.weight_decay", "/optimizer/weight_decay"},
    {"optimizer.decay_all", "/optimizer/decay_all"},
    {"optimizer.clip_norm", "/clip_norm"},
    {"optimizer.warmup_steps", "/schedule/warmup_steps"},
    {"optimizer.final_factor", "/schedule/final_factor"},
    {"layout.threads", "/device/threads"},
    {"numerics.tensor_chunks", "/tensor_chunks"},
};

/// What the checkpoint says of a key; nothing where it does not.
json value_in(const state::Contents& contents, const Key& key) {
  if (!contents.run.is_object()) return {};
  const json note = contents.run.value(json::json_pointer("/notes/recipe"), json::object());
  if (note.contains(key.section) && note[key.section].contains(key.name)) return note[key.section][key.name];
  if (key.noted_when_set && note.contains(key.section)) return json_value(key.field, {});
  if (const auto place = kPlaces.find(key.full_name()); place != kPlaces.end())
    return contents.run.value(json::json_pointer(place->second), json());
  if (key.full_name() == "train.global_batch" && contents.step > 0 && contents.samples % contents.step == 0)
    return contents.samples / contents.step;
  return {};
}

std::vector<session::Difference> differences(const Recipe& recipe, const state::Contents& contents) {
  std::vector<session::Difference> found;
  for (const Key& key : recipe_keys()) {
    const json theirs = value_in(contents, key);
    const json ours = json_value(key.field, recipe);
    if (theirs.is_null() || theirs == ours || !applies(key, recipe)) continue;
    const bool is_given = recipe.places.contains(key.full_name());
    found.push_back(
        {key.full_name(), theirs.dump(), ours.dump(),
         is_given ? recipe.place(key.full_name()) : cat("the default, which ", recipe.file, " leaves"),
         cat("--set ", key.full_name(), "=", theirs.is_string() ? theirs.get<std::string>() : theirs.dump())});
  }
  return found;
}

}  // namespace

void check_same_recipe(const Recipe& recipe, const Samples& samples, const state::Checkpoint& checkpoint) {
  const state::Contents& contents = checkpoint.contents();
  session::refuse_other_run(differences(recipe, contents));
  if (!contents.run.is_object()) return;
  const std::string store = contents.run.value(json::json_pointer("/notes/data"), samples.identity);
  if (store != samples.identity)
    throw InputError(
        cat("checkpoint - data: it is of ", store, ", this run's is of ", samples.identity,
            "; a run goes on with the data that it began with, so name that, or start a new run"));
}

}  // namespace shoal::app
