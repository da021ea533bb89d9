#include "train/recipe_model.h"

#include <torch/nn/functional/loss.h>

namespace shoal::train {

models::GptConfig gpt_config(const Recipe::Model& model) {
  return {.vocabulary = model.vocabulary,
          .layers = model.layers,
          .width = model.width,
          .heads = model.heads,
          .context = model.context,
          .dropout = model.dropout,
          .tied_head = model.tied_head};
}

models::MlpConfig mlp_config(const Recipe::Model& model) {
  return {.inputs = model.inputs,
          .width = model.width,
          .layers = model.layers,
          .outputs = model.outputs,
          .dropout = model.dropout};
}

namespace {
const auto cross_entropy = [](auto& model, const Batch& batch) {
  const at::Tensor logits = model->forward(batch[0]);
  return torch::nn::functional::cross_entropy(logits.reshape({-1, logits.size(-1)}), batch[1].reshape({-1}));
};
}  // namespace

TrainingModel make_model(const Recipe& recipe) {
  if (recipe.model.name == "gpt")
    return with_loss(describe([&] { return models::Gpt(gpt_config(recipe.model)); }), cross_entropy);
  return with_loss(describe([&] { return models::Mlp(mlp_config(recipe.model)); }), cross_entropy);
}

}  // namespace shoal::train
