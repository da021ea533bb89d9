#include "app/samples.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <vector>

#include "app/store_samples.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "data/sample_source.h"
#include "shoal/error.h"

namespace shoal::app {
namespace {

using data::SampleSource;

/// Input tokens [count, context] and, for each, the token that follows.
Batch token_batch(const SampleSource& source, int64_t first, int64_t count,
                  void (SampleSource::*read)(int64_t, std::span<int64_t>) const) {
  const int64_t context = source.context();
  const at::Tensor inputs = at::empty({count, context}, at::kLong),
                   targets = at::empty({count, context}, at::kLong);
  std::vector<int64_t> tokens(static_cast<size_t>(context) + 1);
  for (int64_t i = 0; i < count; ++i) {
    (source.*read)(first + i, tokens);
    std::copy_n(tokens.begin(), context, inputs.mutable_data_ptr<int64_t>() + i * context);
    std::copy_n(tokens.begin() + 1, context, targets.mutable_data_ptr<int64_t>() + i * context);
  }
  return {inputs, targets};
}

std::string counted_tokens(int64_t tokens) {
  return tokens < 10'000 ? cat(tokens, " tokens")
                         : cat(tokens / 1'000'000, ".", tokens / 100'000 % 10, " million tokens");
}

Samples text_samples(const Recipe& recipe) {
  const int64_t context = recipe.model.context;
  const uint64_t seed = static_cast<uint64_t>(recipe.train.seed);
  if (recipe.model.end_of_document >= recipe.model.vocabulary)
    throw InputError(cat(recipe.place("model.end_of_document"), " - model.end_of_document: got ",
                         recipe.model.end_of_document, ", want a token, below ", recipe.model.vocabulary,
                         ", or -1"));
  std::shared_ptr<const SampleSource> source;
  Samples samples;
  if (recipe.data.source == "store") {
    const auto store = std::make_shared<data::TokenStore>(recipe.data.path);
    const int64_t end = store->manifest().tokenizer.end_of_document, wanted = recipe.model.end_of_document;
    if (wanted >= 0 && wanted != end)
      throw InputError(cat(recipe.place("model.end_of_document"), " - model.end_of_document: got ", wanted, ", want ",
                           end < 0 ? std::string("-1: documents of ") : cat(end, ", which ends the documents of "),
                           recipe.data.path, end < 0 ? " have no end" : ""));
    source = std::make_shared<data::StoreSource>(store, context, seed);
    samples.identity = cat("the store with hash ", hash_hex(data::to_json(store->manifest())));
    samples.description = cat("the token store ", recipe.data.path, ": ",
                              counted_tokens(store->num_tokens(data::Split::kTrain)), " to train on, ",
                              counted_tokens(store->num_tokens(data::Split::kValidation)), " to validate on");
  } else {
    source = std::make_shared<data::RandomSource>(recipe.model.vocabulary, context, seed);
    samples.description = "made up: a noisy walk over the vocabulary, which can be learned";
  }
  if (source->vocabulary() > recipe.model.vocabulary)
    throw InputError(cat(recipe.place("model.vocabulary"), " - model.vocabulary: got ",
                         recipe.model.vocabulary, ", want at least ", source->vocabulary(),
                         ", the tokens of ", recipe.data.path));
  samples.training = [source](int64_t first, int64_t count) {
    return token_batch(*source, first, count, &SampleSource::sample);
  };
  samples.validation = [source](int64_t first, int64_t count) {
    return token_batch(*source, first, count, &SampleSource::validation_sample);
  };
  samples.num_validation = source->num_validation_samples();
  samples.tokens_per_sample = context;
  samples.unit = "tokens";
  samples.baseline = source->unigram_entropy();
  return samples;
}

constexpr uint64_t kTeacher = 0x74656163686572;           // "teacher": the same for every seed
constexpr uint64_t kTraining = 0x747261696e;              // "train"
constexpr uint64_t kValidation = 0x76616c6964617465;      // "validate"
constexpr int64_t kValidationSamples = int64_t{1} << 16;  // there could be any number

class LabelledPoints {
 public:
  LabelledPoints(int64_t inputs, int64_t outputs) : inputs_(inputs), outputs_(outputs) {
    for (int64_t i = 0; i < inputs * outputs; ++i) teacher_.push_back(signed_unit(kTeacher, 0, i));
  }

  /// Points [count, inputs] and their classes.
  Batch batch(uint64_t key, uint64_t stream, int64_t first, int64_t count) const {
    const at::Tensor points = at::empty({count, inputs_}, at::kFloat),
                     classes = at::empty({count}, at::kLong);
    for (int64_t row = 0; row < count; ++row) {
      const std::span<float> point(points.mutable_data_ptr<float>() + row * inputs_,
                                   static_cast<size_t>(inputs_));
      for (int64_t i = 0; i < inputs_; ++i)
        point[static_cast<size_t>(i)] =
            static_cast<float>(signed_unit(key, stream, (first + row) * inputs_ + i));
      classes.mutable_data_ptr<int64_t>()[row] = class_of(point);
    }
    return {points, classes};
  }

 private:
  static double signed_unit(uint64_t key, uint64_t stream, int64_t index) {
    return 2 * random_unit(key, stream, static_cast<uint64_t>(index)) - 1;
  }

  int64_t class_of(std::span<const float> point) const {
    int64_t best = 0;
    double best_score = -INFINITY;
    for (int64_t output = 0; output < outputs_; ++output) {
      double score = 0;
      for (size_t i = 0; i < point.size(); ++i)
        score += teacher_[static_cast<size_t>(output) * point.size() + i] * double{point[i]};
      if (score > best_score) best = output, best_score = score;
    }
    return best;
  }

  int64_t inputs_, outputs_;
  std::vector<double> teacher_;  // a row of inputs for each output
};

class LabelledImages {
 public:
  LabelledImages(int64_t side, int64_t classes) : side_(side), classes_(classes) {}

  /// Images [count, 3, side, side], half a wave of the class and half noise, and their classes.
  Batch batch(uint64_t key, uint64_t stream, int64_t first, int64_t count) const {
    const int64_t pixels = 3 * side_ * side_;
    const at::Tensor images = at::empty({count, 3, side_, side_}, at::kFloat),
                     classes = at::empty({count}, at::kLong);
    for (int64_t row = 0; row < count; ++row) {
      const int64_t begin = (first + row) * (pixels + 2);  // two numbers for the class and the phase
      const auto label = static_cast<int64_t>(unit(key, stream, begin) * static_cast<double>(classes_));
      classes.mutable_data_ptr<int64_t>()[row] = label;
      draw(label, unit(key, stream, begin + 1), images.mutable_data_ptr<float>() + row * pixels,
           [&](int64_t pixel) { return 2 * unit(key, stream, begin + 2 + pixel) - 1; });
    }
    return {images, classes};
  }

 private:
  static double unit(uint64_t key, uint64_t stream, int64_t index) {
    return random_unit(key, stream, static_cast<uint64_t>(index));
  }

  // The class decides the wave's direction, and how far it is shifted in each colour.
  template <class Noise>
  void draw(int64_t label, double phase, float* image, const Noise& noise) const {
    const double angle = M_PI * static_cast<double>(label) / static_cast<double>(classes_);
    const double across = std::cos(angle) / kWaveLength, down = std::sin(angle) / kWaveLength;
    for (int64_t pixel = 0; pixel < 3 * side_ * side_; ++pixel) {
      const int64_t colour = pixel / (side_ * side_), y = pixel / side_ % side_, x = pixel % side_;
      const double shift = unit(kTeacher, 1, label * 3 + colour);
      const double turns = static_cast<double>(x) * across + static_cast<double>(y) * down + shift + phase;
      image[pixel] = static_cast<float>((std::cos(2 * M_PI * turns) + noise(pixel)) / 2);
    }
  }

  static constexpr double kWaveLength = 6;  // pixels
  int64_t side_, classes_;
};

/// `made_up`: LabelledPoints or LabelledImages.
template <class Source>
Samples labelled_samples(const Recipe& recipe, Source made_up, std::string description) {
  const auto source = std::make_shared<const Source>(std::move(made_up));
  const uint64_t seed = static_cast<uint64_t>(recipe.train.seed);
  Samples samples;
  samples.training = [source, seed](int64_t first, int64_t count) {
    return source->batch(seed, kTraining, first, count);
  };
  samples.validation = [source](int64_t first, int64_t count) {
    return source->batch(0, kValidation, first, count);
  };
  samples.num_validation = kValidationSamples;
  samples.unit = "samples";
  samples.baseline = std::log(static_cast<double>(recipe.model.outputs));
  samples.description = std::move(description);
  return samples;
}

}  // namespace

Samples open_samples(const Recipe& recipe) {
  const Recipe::Model& model = recipe.model;
  if (model.knows_text()) return text_samples(recipe);
  if (recipe.data.source == "samples") return store_samples(recipe);
  if (model.name == "resnet")
    return labelled_samples(recipe, LabelledImages(model.image, model.outputs),
                            "made up: noisy images of waves, whose direction and colours tell the class");
  return labelled_samples(recipe, LabelledPoints(model.inputs, model.outputs),
                          "made up: points, and classes that a linear function of them decides");
}

}  // namespace shoal::app
