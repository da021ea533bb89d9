// A model from elsewhere as a checkpoint of ours, as if a run had ended before its first step.
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/text.h"
#include "comm/comm.h"
#include "comm/group.h"
#include "formats/hf_tokenizer.h"
#include "formats/own_form.h"
#include "formats/target.h"
#include "formats/whole_folder.h"
#include "shoal/error.h"
#include "state/checkpoint.h"

namespace shoal::formats {
namespace {

/// What a run notes of itself, as far as it is the model's.
nlohmann::json notes_of(const ModelFile& model, WeightType type, const KeptTokenizer& tokenizer) {
  nlohmann::json keys = own_model_keys(model.config());
  keys["context"] = model.config().context;
  nlohmann::json notes;
  notes["recipe"] = {{"model", std::move(keys)},
                     {"data", {{"source", "store"}}},
                     {"train", {{"precision", type == WeightType::kBF16 ? "bf16" : "fp32"}}}};
  if (!tokenizer.hash.empty()) notes["tokenizer"] = tokenizer.hash;
  return notes;
}

}  // namespace

void write_checkpoint(const ModelFile& model, const std::filesystem::path& source, const std::filesystem::path& out,
                      std::optional<WeightType> asked) {
  const ModelConfig& config = model.config();
  check_own_form(model, model.place());
  if (asked && *asked != WeightType::kF32 && *asked != WeightType::kBF16)
    throw InputError(cat("--type - got ", info(*asked).name, ", want f32 or bf16 for --to checkpoint"));
  WholeFolder folder(out);  // a name that is taken is told before anything is made
  bool all_are_bf16 = true;  // else it is fp32, which holds them all
  state::Contents contents;
  std::vector<std::vector<float>> values;  // of each tensor
  std::map<std::string, size_t> places;
  for (const WantedWeight& weight : all_weights(config)) {
    const auto found = model.weight(weight.name);
    if (!found && weight.optional) continue;
    if (!found) throw InputError(cat(model.place(), " - ", weight.name, ": is missing"));
    all_are_bf16 = all_are_bf16 && found->type == WeightType::kBF16;
    const state::TensorSpec spec = own_spec(config, weight);
    const auto [place, is_new] = places.try_emplace(spec.name, values.size());
    if (is_new) {
      contents.tensors.push_back(spec);
      values.emplace_back(static_cast<size_t>(state::num_elements(spec)));
    }
    copy_to_own(model, weight.name, values[place->second].data());
  }
  const KeptTokenizer tokenizer = kept_tokenizer(model, source);
  contents.run = {{"notes", notes_of(model, asked.value_or(all_are_bf16 ? WeightType::kBF16 : WeightType::kF32), tokenizer)}};

  if (!tokenizer.files.empty()) std::filesystem::create_directory(folder / kTokenizerFolder);
  for (const auto& [name, text] : tokenizer.files) folder.write(cat(kTokenizerFolder, "/", name), text);
  std::vector<state::Slice> slices;
  for (size_t t = 0; t < values.size(); ++t)
    slices.push_back({t, {0, static_cast<int64_t>(values[t].size())}, std::as_bytes(std::span(values[t]))});
  const std::unique_ptr<comm::Communicator> alone = comm::single();
  comm::Group group(*alone);
  std::filesystem::create_directory(folder / "checkpoints");
  state::save(group, folder / "checkpoints" / "step-0", contents, slices);
  folder.finish();
}

}  // namespace shoal::formats
