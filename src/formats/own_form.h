// Models from elsewhere as gpt and llama of ours (src/models): which can be, what a recipe says of them, and where their
// numbers go.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "formats/model_file.h"
#include "formats/model_shape.h"
#include "formats/own_names.h"
#include "state/tensor_spec.h"

namespace shoal::formats {

/// Throws InputError "`place` - got ..., want ...: our own models compute nothing else" where src/models compute the model
/// otherwise than it asks for.
void check_own_form(const ModelFile&, const std::string& place);

/// [model] of its recipe, in the order of docs/recipe.md. Of a llama without the context, which is the recipe's matter.
/// REQUIRES: check_own_form().
nlohmann::ordered_json own_model_keys(const ModelConfig&);

/// The whole parameter that the weight is, or is a part of, as checkpoints have it.
state::TensorSpec own_spec(const ModelConfig&, const WantedWeight&);

/// Writes the weight as fp32 to its places in the parameter's elements. Throws InputError where its numbers cannot be read.
/// REQUIRES: check_own_form(); the model has it.
void copy_to_own(const ModelFile&, const std::string& weight, float* parameter);

}  // namespace shoal::formats
