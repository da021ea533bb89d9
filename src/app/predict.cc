#include "app/predict.h"

#include <ATen/ops/argmax.h>

#include <algorithm>
#include <optional>
#include <span>

#include "app/recipe_model.h"
#include "app/samples.h"
#include "base/text.h"
#include "shoal/error.h"
#include "shoal/trainer.h"
#include "state/checkpoint.h"
#include "state/durable.h"
#include "state/safetensors.h"

namespace shoal::app {
namespace {

int64_t count_of(const Recipe& recipe, const PredictOptions& options, const Samples& samples) {
  const bool validates = options.split == "validation";
  if (!validates && options.split != "train")
    throw InputError(cat("--split - got ", options.split, ", want validation or train"));
  if (options.samples > 0) {
    if (validates && options.samples > samples.num_validation)
      throw InputError(cat("--samples - got ", options.samples, ", want at most ", samples.num_validation,
                           ", as many as there are to validate on"));
    return options.samples;
  }
  return validates ? std::min(recipe.validation.samples, samples.num_validation)
                   : recipe.train.global_batch;
}

/// The file, as batches come in.
class Predictions {
 public:
  Predictions(const PredictOptions& options, int64_t samples) : options_(options), samples_(samples), file_(options.out) {}

  void add(const at::Tensor& made, const at::Tensor& answers) {
    const at::Tensor classes = made.argmax(-1);
    predicted_.samples += made.size(0);
    predicted_.answers += answers.numel();
    predicted_.right += classes.eq(answers).sum().item<int64_t>();
    const at::Tensor rows = options_.logits ? made.to(at::kFloat).contiguous() : classes.contiguous();
    if (!begun_) begin(rows);
    file_.write({static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()});
  }

  Predicted finish() {
    file_.finish();
    return predicted_;
  }

 private:
  void begin(const at::Tensor& first) {
    std::vector<int64_t> shape = first.sizes().vec();
    shape[0] = samples_;
    const auto bytes = static_cast<int64_t>(first.nbytes()) / first.size(0) * samples_;
    const std::vector<state::SafetensorsEntry> entries = {
        {"predictions", options_.logits ? "F32" : "I64", shape, bytes}};
    const std::string header = state::safetensors_header(entries);
    file_.write(std::as_bytes(std::span(header)));
    begun_ = true;
  }

  const PredictOptions& options_;
  const int64_t samples_;
  state::WholeFile file_;
  bool begun_ = false;
  Predicted predicted_;
};

}  // namespace

void check_predict(const Recipe& recipe, const PredictOptions& options) {
  state::Checkpoint{options.checkpoint};
  const Samples samples = open_samples(recipe);
  if (count_of(recipe, options, samples) < 1)
    throw InputError(cat(recipe.data.path, " - has no samples to validate on; want --split train, or another --data"));
  state::WholeFile{options.out};
}

Predicted predict(World& world, const Recipe& recipe, const PredictOptions& options) {
  const Samples samples = open_samples(recipe);
  const int64_t count = count_of(recipe, options, samples), rows = recipe.microbatch_samples();
  const auto& source = options.split == "validation" ? samples.validation : samples.training;
  const auto batch = [&](int64_t i) { return source(i * rows, std::min(rows, count - i * rows)); };

  const Network network = describe_network(recipe.model);
  Trainer trainer(world, make_model(network), trainer_options(recipe));
  trainer.prepare(samples.training(0, rows));
  trainer.load(options.checkpoint);
  std::optional<Predictions> predictions;
  if (world.rank() == 0) predictions.emplace(options, count);
  trainer.predict([&](const Batch& inputs) { return network.forward(inputs[0]); }, (count + rows - 1) / rows,
                  [&](int64_t i) { return Batch{batch(i)[0]}; },
                  [&](int64_t i, const at::Tensor& made) { predictions->add(made, batch(i)[1]); });
  return predictions ? predictions->finish() : Predicted{};
}

}  // namespace shoal::app
