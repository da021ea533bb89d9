// A checkpoint that `shoal train` wrote, of a gpt or a llama (src/models), as a model to serve. Its weights
// are copied, and checked against their checksums, when they are first asked for.
#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <utility>

#include "base/half.h"
#include "base/hash.h"
#include "base/text.h"
#include "formats/hf_tokenizer.h"
#include "formats/json_text.h"
#include "formats/mapped_file.h"
#include "formats/model_shape.h"
#include "formats/open_formats.h"
#include "formats/own_form.h"
#include "formats/weight_table.h"
#include "shoal/error.h"
#include "state/checkpoint.h"

namespace shoal::formats {
namespace {

constexpr int64_t kByteVocabulary = 257;  // 256 bytes and the end of a document

/// What the run's recipe says of the model.
struct Described {
  ModelConfig config;
  bool is_bf16 = false;
  std::string tokenizer;  // hash of its tokenizer.json; "": bytes
};

Described describe_model(const state::Checkpoint& checkpoint) {
  const std::string place = checkpoint.folder().string();
  const nlohmann::json& run = checkpoint.contents().run;
  const auto unusable = [&] {
    return InputError(
        cat(place, " - recipe: is missing or unusable, want a checkpoint that shoal train saved"));
  };
  if (!run.is_object()) throw unusable();
  const auto notes = Members(run, place, "run.").object("notes");
  const auto recipe = notes ? notes->object("recipe") : std::nullopt;
  const auto model = recipe ? recipe->object("model") : std::nullopt;
  const auto data = recipe ? recipe->object("data") : std::nullopt;
  const auto train = recipe ? recipe->object("train") : std::nullopt;
  if (!model || !data || !train) throw unusable();

  const std::string name = model->text("name").value_or("");
  if (name != "gpt" && name != "llama")
    throw InputError(cat(place, " - model: got ", name, ", want gpt or llama, which know text"));
  if (const std::string source = data->text("source").value_or(""); source != "store")
    throw InputError(cat(place, " - data: the model was trained on ", source,
                         " tokens, want one trained on a store of text"));
  Described described;
  described.tokenizer = notes->text("tokenizer").value_or("");
  ModelConfig& config = described.config;
  config.name = name;
  config.vocabulary = model->wanted_integer("vocabulary");
  config.layers = model->wanted_integer("layers");
  config.width = model->wanted_integer("width");
  config.heads = config.kv_heads = model->wanted_integer("heads");
  config.context = model->wanted_integer("context");
  config.tied_head = model->flag("tied_head").value_or(false);
  config.norm_epsilon = 1e-5;
  if (described.tokenizer.empty() && config.vocabulary < kByteVocabulary)
    throw InputError(cat(place, " - vocabulary: got ", config.vocabulary, ", want at least ", kByteVocabulary,
                         " for bytes"));
  if (config.heads < 1 || config.width < 1 || config.width > (1 << 24) || config.width % config.heads != 0)
    throw unusable();
  config.head_width = config.width / config.heads;
  if (name == "gpt") {
    config.architecture = Architecture::kGpt2;
    config.hidden = 4 * config.width;
  } else {
    // As models::LlamaConfig says; older recipes have no keys for base and epsilon.
    if (const int64_t kv_heads = model->integer("kv_heads").value_or(0); kv_heads > 0)
      config.kv_heads = kv_heads;
    config.hidden = model->integer("hidden").value_or(0);
    if (config.hidden <= 0) config.hidden = (8 * config.width / 3 + 31) / 32 * 32;
    config.rope_halves = true;
    config.rope_width = config.head_width;
    config.rope_base = model->real("rope_base").value_or(1e4);
    config.norm_epsilon = model->real("norm_eps").value_or(1e-5);
  }
  described.is_bf16 = train->text("precision").value_or("fp32") == "bf16";
  check_config(config, place);
  return described;
}

class CheckpointModel : public ModelFile {
 public:
  explicit CheckpointModel(const std::filesystem::path& path)
      : checkpoint_(path), described_(describe_model(checkpoint_)) {
    for (const WantedWeight& want : all_weights(config()))
      if (!want.optional) add_weight(want);
    weights_.check(config(), place());
  }

  const ModelConfig& config() const override { return described_.config; }
  std::optional<Weight> weight(const std::string& name) const override { return weights_.find(name); }
  std::vector<std::string> weight_names() const override { return weights_.names(); }
  text::TokenizerSpec tokenizer() const override {
    if (described_.tokenizer.empty()) return text::byte_tokenizer(config().vocabulary);
    return read_hf_tokenizer(tokenizer_folder(), config().vocabulary);
  }
  std::string chat_template() const override {
    return described_.tokenizer.empty() ? "" : read_hf_chat_template(tokenizer_folder());
  }
  std::string place() const override { return checkpoint_.folder().string(); }

 private:
  /// In the run's folder, since all its checkpoints have one tokenizer. Another one would make nonsense of tokens.
  std::filesystem::path tokenizer_folder() const {
    const std::filesystem::path folder = checkpoint_.folder().parent_path().parent_path() / kTokenizerFolder;
    if (hash_hex(read_text(folder / "tokenizer.json", "the tokenizer of the run that the checkpoint is of", kMostText)) !=
        described_.tokenizer)
      throw InputError(cat((folder / "tokenizer.json").string(),
                           " - is not the tokenizer that the model was trained with; want the one that shoal train left"));
    return folder;
  }

  void add_weight(const WantedWeight& want) {
    Weight weight{described_.is_bf16 ? WeightType::kBF16 : WeightType::kF32, want.rows, want.columns,
                  nullptr};
    const int part = own_place(config().architecture, want.name).part;
    const state::TensorSpec spec = own_spec(config(), want);
    require(spec);
    weights_.add(want.name, weight, [this, spec, weight, part] { return read(spec, weight, part); });
  }

  /// A wrong name or shape is told at once, not when the weight is first used.
  void require(const state::TensorSpec& want) const {
    if (whole_tensors_.empty())
      for (const state::TensorSpec& spec : state::whole_tensors(checkpoint_.contents().tensors))
        whole_tensors_.emplace(std::pair(spec.name, spec.role), spec);
    const auto found = whole_tensors_.find({want.name, want.role});
    if (found == whole_tensors_.end() || found->second != want)
      throw InputError(cat(place(), " - tensor ", want.name, ": got ",
                           found == whole_tensors_.end() ? "none" : state::type_text(found->second),
                           ", want ", state::type_text(want), ", as the recipe's model has it"));
  }

  WeightTable::Bytes read(const state::TensorSpec& spec, const Weight& weight, int part) const {
    const auto elements = static_cast<size_t>(state::num_elements(spec));
    std::vector<float> stored(elements);
    checkpoint_.read_whole(spec, std::as_writable_bytes(std::span(stored)));
    if (part >= 0) {  // (head, q|k|v, dim) -> (head, dim) of one of the three
      const auto row = static_cast<size_t>(spec.shape.size() == 1 ? 1 : weight.columns);
      const size_t run = static_cast<size_t>(config().head_width) * row;
      for (size_t head = 0; head < static_cast<size_t>(config().heads); ++head)
        std::copy_n(stored.data() + (3 * head + static_cast<size_t>(part)) * run, run,
                    stored.data() + head * run);
      stored.resize(elements / 3);
    }
    auto bytes = std::make_unique<std::byte[]>(static_cast<size_t>(bytes_of(weight)));
    if (weight.type == WeightType::kF32) {
      std::memcpy(bytes.get(), stored.data(), stored.size() * sizeof(float));
    } else {
      for (size_t i = 0; i < stored.size(); ++i) {
        const uint16_t rounded = to_bfloat(stored[i]);
        std::memcpy(bytes.get() + 2 * i, &rounded, sizeof rounded);
      }
    }
    return bytes;
  }

  const state::Checkpoint checkpoint_;
  const Described described_;
  mutable std::map<std::pair<std::string, std::string>, state::TensorSpec>
      whole_tensors_;  // while it is opened
  WeightTable weights_;
};

}  // namespace

std::shared_ptr<const ModelFile> open_checkpoint(const std::filesystem::path& path) {
  return std::make_shared<CheckpointModel>(path);
}

}  // namespace shoal::formats
