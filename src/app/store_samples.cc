#include "app/store_samples.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "base/hash.h"
#include "base/text.h"
#include "data/manifest.h"
#include "data/sample_manifest.h"
#include "shoal/error.h"
#include "shoal/sample_store.h"

namespace shoal::app {
namespace {

using data::SampleType;
using Field = data::SampleField;

bool is_number(SampleType type) {
  return type == SampleType::kU8 || type == SampleType::kF16 || type == SampleType::kBF16 ||
         type == SampleType::kF32 || type == SampleType::kF64;
}

bool suits_input(const Recipe::Model& model, const Field& field) {
  if (!is_number(field.type) || field.varies()) return false;
  if (model.name == "resnet") return field.shape == std::vector<int64_t>{3, model.image, model.image};
  return field.bytes_of_row() / data::bytes_of(field.type) == model.inputs;
}

bool suits_target(const Field& field) {
  const bool is_one = field.shape.empty() || field.shape == std::vector<int64_t>{1};
  return is_one && (!is_number(field.type) || field.type == SampleType::kU8);
}

std::string input_text(const Recipe::Model& model) {
  const std::string types = "of U8, F16, BF16, F32 or F64";
  if (model.name == "resnet")
    return cat("one of [3, ", model.image, ", ", model.image, "] ", types, ", as model.image says");
  return cat("one of ", model.inputs, " numbers ", types, ", as model.inputs says");
}

std::string text_of(const Field& field) {
  return cat(field.name, " ", data::type_text(field.type, field.shape));
}

std::string text_of(const std::vector<const Field*>& fields) {
  std::vector<std::string> texts;
  for (const Field* field : fields) texts.push_back(text_of(*field));
  return join(texts, ", ");
}

/// Where in the schema the field is that `key` names, or, where it is "auto", the only one that suits.
size_t choose(const Recipe& recipe, const std::string& key, const std::string& name,
              const std::vector<Field>& fields, const std::function<bool(const Field&)>& suits,
              const std::string& want) {
  const std::string place = cat(recipe.place(key), " - ", key, ": ");
  std::vector<const Field*> all, suitable;
  for (const Field& field : fields) {
    all.push_back(&field);
    if (suits(field)) suitable.push_back(&field);
  }
  if (name != "auto") {
    const auto found = std::ranges::find(fields, name, &Field::name);
    if (found == fields.end())
      throw InputError(
          cat(place, "got ", name, ", want a field of ", recipe.data.path, ", which has ", text_of(all)));
    if (!suits(*found)) throw InputError(cat(place, "got ", text_of(*found), ", want ", want));
    return static_cast<size_t>(found - fields.begin());
  }
  if (suitable.empty())
    throw InputError(cat(place, recipe.data.path, " has no field that ", recipe.model.name, " can take: got ",
                         text_of(all), ", want ", want));
  if (suitable.size() > 1)
    throw InputError(cat(place, recipe.data.path, " has several that ", recipe.model.name, " can take: got ",
                         text_of(suitable), "; name one"));
  return static_cast<size_t>(suitable[0] - fields.data());
}

/// Of each byte, divided by 255.
const std::array<float, 256>& shares() {
  static const std::array<float, 256> kShares = [] {
    std::array<float, 256> table;
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i) / 255.0F;
    return table;
  }();
  return kShares;
}

class StoredSamples {
 public:
  StoredSamples(const Recipe& recipe, const data::SampleManifest& manifest)
      : path_(recipe.data.path),
        outputs_(recipe.model.outputs),
        is_flat_(recipe.model.name == "mlp"),
        store_(recipe.data.path),
        input_at_(choose(
            recipe, "data.input", recipe.data.input, manifest.fields,
            [&](const Field& field) { return suits_input(recipe.model, field); }, input_text(recipe.model))),
        target_at_(choose(recipe, "data.target", recipe.data.target, manifest.fields, suits_target,
                          "one of a single whole number, the class")),
        input_(manifest.fields[input_at_]),
        target_(manifest.fields[target_at_]),
        rows_(recipe.microbatch_samples()),
        microbatches_(recipe.train.microbatches),
        loader_(store_, {store_.fields()[input_at_], store_.fields()[target_at_]},
                {.seed = static_cast<uint64_t>(recipe.train.seed),
                 .microbatches = microbatches_,
                 .microbatch_samples = rows_}) {
    if (input_at_ == target_at_)
      throw InputError(cat(recipe.place("data.target"), " - data.target: got ", target_.name,
                           ", which is the input; name another field"));
    if (static_cast<int64_t>(target_.classes.size()) > outputs_)
      throw InputError(cat(recipe.place("model.outputs"), " - model.outputs: got ", outputs_,
                           ", want at least ", target_.classes.size(), ", the classes of ", target_.name,
                           " in ", path_));
  }

  /// REQUIRES: `first` begins a microbatch, which has at least so many.
  Batch training(int64_t first, int64_t count) {
    const int64_t microbatch = first / rows_;
    Batch raw = loader_.training(microbatch / microbatches_, microbatch % microbatches_);
    for (at::Tensor& tensor : raw) tensor = tensor.slice(0, 0, count);
    return to_batch(raw);
  }
  Batch validation(int64_t first, int64_t count) const {
    std::vector<at::Tensor> inputs, targets;
    for (int64_t i = first; i < first + count; ++i) {
      const std::vector<at::Tensor> sample = store_.validation(i);
      inputs.push_back(sample[input_at_]);
      targets.push_back(sample[target_at_]);
    }
    return to_batch({at::stack(inputs), at::stack(targets)});
  }

  /// In nats, of the first `count` classes of validation.
  double entropy(int64_t count) const {
    if (count == 0) return 0;
    std::vector<int64_t> counts(static_cast<size_t>(outputs_));
    for (int64_t i = 0; i < count; ++i)
      ++counts[static_cast<size_t>(
          to_classes(store_.validation(i)[target_at_].reshape({1})).item<int64_t>())];
    return data::unigram_entropy(counts);
  }

  int64_t num_validation() const { return store_.num_validation(); }
  std::string fields_text() const { return cat(input_.name, " to ", target_.name); }
  std::string description() const {
    return cat("the sample store ", path_, ": ", store_.num_training(), " samples to train on, ",
               store_.num_validation(), " to validate on; ", text_of(input_),
               input_.type == SampleType::kU8 ? " / 255" : "", " to ", text_of(target_),
               target_.classes.empty() ? "" : cat(", ", target_.classes.size(), " classes"));
  }

 private:
  at::Tensor to_input(const at::Tensor& raw) const {
    at::Tensor input = raw;
    if (raw.scalar_type() == at::kByte) {
      input = at::empty(raw.sizes(), at::kFloat);
      const auto* bytes = raw.const_data_ptr<uint8_t>();
      auto* numbers = input.mutable_data_ptr<float>();
      for (int64_t i = 0; i < raw.numel(); ++i) numbers[i] = shares()[bytes[i]];
    }
    input = input.to(at::kFloat);
    return is_flat_ ? input.reshape({input.size(0), -1}) : input;
  }

  at::Tensor to_classes(const at::Tensor& raw) const {
    at::Tensor classes = raw.reshape({raw.size(0)}).to(at::kLong);
    for (int64_t i = 0; i < classes.numel(); ++i) {
      const int64_t label = classes.const_data_ptr<int64_t>()[i];
      if (label < 0 || label >= outputs_)
        throw InputError(cat(path_, " - field ", target_.name, ": got the class ", label, ", want 0 to ",
                             outputs_ - 1, ", as model.outputs is ", outputs_));
    }
    return classes;
  }

  Batch to_batch(const Batch& raw) const { return {to_input(raw[0]), to_classes(raw[1])}; }

  const std::string path_;
  const int64_t outputs_;
  const bool is_flat_;  // samples are rows of numbers
  const SampleStore store_;
  const size_t input_at_, target_at_;  // in the schema
  const Field input_, target_;
  const int64_t rows_, microbatches_;
  SampleLoader loader_;
};

}  // namespace

Samples store_samples(const Recipe& recipe) {
  const data::SampleManifest manifest = data::load_sample_manifest(recipe.data.path);
  const auto source = std::make_shared<StoredSamples>(recipe, manifest);
  Samples samples;
  samples.training = [source](int64_t first, int64_t count) { return source->training(first, count); };
  samples.validation = [source](int64_t first, int64_t count) { return source->validation(first, count); };
  samples.num_validation = source->num_validation();
  samples.unit = "samples";
  samples.baseline = source->entropy(std::min(recipe.validation.samples, source->num_validation()));
  samples.description = source->description();
  samples.identity =
      cat("the sample store with hash ", hash_hex(data::to_json(manifest)), ", ", source->fields_text());
  return samples;
}

}  // namespace shoal::app
