// Training that begins with the numbers of another model instead of drawn ones: a GGUF file, a Hugging Face folder,
// a checkpoint of another run (docs/recipe.md, "--from").
#pragma once

#include <filesystem>
#include <vector>

#include "app/recipe.h"
#include "app/recipe_model.h"
#include "formats/model_file.h"

namespace shoal::app {

/// What the model at `path` says of [model], as changes that a recipe must not contradict. Throws InputError where it
/// is none that src/models/gpt or llama compute to the last rule.
std::vector<Override> keys_of_model(const std::filesystem::path& path);

/// Throws InputError where the recipe's data are tokens of another tokenizer than the model's.
void check_tokens(const Recipe&, const std::filesystem::path& path);

/// The recipe's network, built, with the numbers of the model at `path` as fp32. REQUIRES: the recipe has the keys
/// that keys_of_model gave.
Network network_from(const Recipe&, const std::filesystem::path& path);

}  // namespace shoal::app
