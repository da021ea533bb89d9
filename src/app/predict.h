// What a trained model makes of a data set, into one file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "app/recipe.h"
#include "shoal/world.h"

namespace shoal::app {

struct PredictOptions {
  std::filesystem::path checkpoint;
  std::filesystem::path out;    // a safetensors file that is not there yet
  std::string split = "validation";  // or "train": those that training reads, in its order
  int64_t samples = 0;          // the first so many; 0: all of the validation split, or one epoch of the other
  bool logits = false;          // write what the model returns; else the likeliest class of each answer
};

struct Predicted {
  int64_t samples = 0, answers = 0, right = 0;  // answers: tokens of a gpt or llama, samples else
};

/// Collective: divides the samples by the recipe's layout, in batches as large as a microbatch of the run; rank 0
/// writes `out`, whole or not at all: "predictions", [samples, ...], I64 classes or F32 logits, in the order of the
/// samples. Counts on rank 0, elsewhere 0. Throws InputError for what cannot be predicted, JobError.
Predicted predict(World&, const Recipe&, const PredictOptions&);

/// What predict would refuse, before devices are started.
void check_predict(const Recipe&, const PredictOptions&);

}  // namespace shoal::app
