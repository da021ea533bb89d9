// The samples that a recipe trains on, as batches.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "app/recipe.h"
#include "shoal/model.h"

namespace shoal::app {

/// A sample is a pure function of its index, so that each device makes the ones it computes, and only those.
struct Samples {
  /// The batch of samples [first, first + count).
  std::function<Batch(int64_t first, int64_t count)> training, validation;
  int64_t num_validation = 0;
  int64_t tokens_per_sample = 1;  // what speed is counted in
  std::string unit;               // "tokens"
  double baseline =
      0;  // the loss, in nats, of a model that knows how frequent each answer is and nothing else
  std::string description;
  std::string identity = "made-up samples";  // or which store, by its contents; nothing of where it lies
};

/// Opens the data. A gpt or llama reads windows of a token store or a noisy walk (data/sample_source.h). An
/// mlp reads made-up samples: inputs uniform in [-1, 1), and the label is the largest of fixed random linear
/// functions of them. A resnet reads made-up images: a wave whose direction and colours tell the class, in
/// noise. Both read sample stores too (app/store_samples.h). Throws InputError, also where the store's tokens,
/// length or fields do not suit the model.
Samples open_samples(const Recipe&);

}  // namespace shoal::app
