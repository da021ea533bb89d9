// The model that a recipe names, and its loss.
#pragma once

#include <functional>
#include <memory>

#include "app/recipe.h"
#include "models/gpt.h"
#include "models/llama.h"
#include "shoal/model.h"

namespace shoal::app {

/// The recipe's module without its type, described.
struct Network {
  std::shared_ptr<torch::nn::Module> module;
  std::shared_ptr<const Initialisation> initialisation;
  std::function<at::Tensor(const at::Tensor&)> forward;  // tokens, points or images -> logits
};
Network describe_network(const Recipe::Model&);
models::GptConfig gpt_config(const Recipe::Model&);
models::LlamaConfig llama_config(const Recipe::Model&);

/// Cross-entropy between the model's outputs for the batch's first tensor and the classes in its second.
TrainingModel make_model(const Recipe&);
TrainingModel make_model(const Network&);

}  // namespace shoal::app
