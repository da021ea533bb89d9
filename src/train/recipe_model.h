// The model that a recipe names, and its loss.
#pragma once

#include "models/gpt.h"
#include "models/mlp.h"
#include "shoal/model.h"
#include "train/recipe.h"

namespace shoal::train {

models::GptConfig gpt_config(const Recipe::Model&);
models::MlpConfig mlp_config(const Recipe::Model&);

/// Cross-entropy between the model's outputs for the batch's first tensor and the classes in its second.
TrainingModel make_model(const Recipe&);

}  // namespace shoal::train
