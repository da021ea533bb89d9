#include "app/recipe_model.h"

#include <torch/nn/functional/loss.h>

#include "models/mlp.h"
#include "models/resnet.h"

namespace shoal::app {

models::GptConfig gpt_config(const Recipe::Model& model) {
  return {.vocabulary = model.vocabulary,
          .layers = model.layers,
          .width = model.width,
          .heads = model.heads,
          .context = model.context,
          .dropout = model.dropout,
          .tied_head = model.tied_head,
          .end_of_document = model.end_of_document};
}

models::LlamaConfig llama_config(const Recipe::Model& model) {
  return {.vocabulary = model.vocabulary,
          .layers = model.layers,
          .width = model.width,
          .heads = model.heads,
          .kv_heads = model.kv_heads,
          .hidden = model.hidden,
          .tied_head = model.tied_head,
          .rope_base = model.rope_base,
          .norm_eps = model.norm_eps,
          .end_of_document = model.end_of_document};
}

namespace {

models::MlpConfig mlp_config(const Recipe::Model& model) {
  return {.inputs = model.inputs,
          .width = model.width,
          .layers = model.layers,
          .outputs = model.outputs,
          .dropout = model.dropout};
}

models::ResnetConfig resnet_config(const Recipe::Model& model) {
  return {.stages = model.stages, .layers = model.layers, .width = model.width, .outputs = model.outputs};
}

template <class Construct>
Network network_of(Construct construct) {
  auto described = describe(construct);
  return {described.module.ptr(), described.initialisation,
          [module = described.module](const at::Tensor& input) mutable { return module->forward(input); }};
}

}  // namespace

Network describe_network(const Recipe::Model& model) {
  if (model.name == "gpt") return network_of([&] { return models::Gpt(gpt_config(model)); });
  if (model.name == "llama") return network_of([&] { return models::Llama(llama_config(model)); });
  if (model.name == "resnet") return network_of([&] { return models::Resnet(resnet_config(model)); });
  return network_of([&] { return models::Mlp(mlp_config(model)); });
}

TrainingModel make_model(const Recipe& recipe) { return make_model(describe_network(recipe.model)); }

TrainingModel make_model(const Network& network) {
  return {network.module, network.initialisation, [forward = network.forward](const Batch& batch) {
            const at::Tensor logits = forward(batch[0]);
            return torch::nn::functional::cross_entropy(logits.reshape({-1, logits.size(-1)}),
                                                        batch[1].reshape({-1}));
          }};
}

}  // namespace shoal::app
