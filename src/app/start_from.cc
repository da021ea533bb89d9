#include "app/start_from.h"

#include <torch/nn/module.h>

#include <string>

#include "app/recipe_keys.h"
#include "base/text.h"
#include "data/token_store.h"
#include "formats/hf_tokenizer.h"
#include "formats/model_shape.h"
#include "formats/own_form.h"
#include "models/gpt.h"
#include "models/llama.h"
#include "shoal/error.h"
#include "text/identity.h"

namespace shoal::app {
namespace {

using formats::Architecture;
using formats::ModelConfig;
using formats::ModelFile;

/// Fills the module's parameters, and notices what is left over on either side.
class Filler {
 public:
  Filler(const ModelFile& file, torch::nn::Module& module) : file_(file), parameters_(module.named_parameters()) {}

  void fill_all() {
    const ModelConfig& config = file_.config();
    for (const auto& wanted : formats::all_weights(config)) fill(wanted);
    const auto expected = static_cast<int64_t>(parameters_.size()) + (is_gpt() ? 4 * config.layers : 0);  // q, k, v are one
    if (filled_ != expected)
      throw InputError(cat("--from ", file_.place(), " - got ", filled_, " weights, want ", expected, " for this model"));
  }

 private:
  bool is_gpt() const { return file_.config().architecture == Architecture::kGpt2; }

  void fill(const formats::WantedWeight& wanted) {
    const auto weight = file_.weight(wanted.name);
    if (!weight && wanted.optional) return;
    if (!weight) throw InputError(cat("--from ", file_.place(), " - ", wanted.name, ": is missing"));
    const formats::OwnPlace place = formats::own_place(file_.config().architecture, wanted.name);
    at::Tensor* const parameter = parameters_.find(place.name);
    const bool is_whole =
        parameter && parameter->numel() == weight->rows * weight->columns * (place.part >= 0 ? 3 : 1);
    if (!is_whole)
      throw InputError(cat("--from ", file_.place(), " - ", wanted.name, ": has no place in this model"));
    formats::copy_to_own(file_, wanted.name, parameter->data_ptr<float>());
    ++filled_;
  }

  const ModelFile& file_;
  torch::OrderedDict<std::string, at::Tensor> parameters_;
  int64_t filled_ = 0;
};

template <class Holder>
Network filled(Holder module, const ModelFile& file) {
  const torch::NoGradGuard no_grad;
  Filler(file, *module).fill_all();
  return {module.ptr(), nullptr, [module](const at::Tensor& input) mutable { return module->forward(input); }};
}

}  // namespace

std::vector<Override> keys_of_model(const std::filesystem::path& path) {
  const auto file = formats::open_model(path);
  formats::check_own_form(*file, cat("--from ", file->place()));
  const nlohmann::ordered_json model = formats::own_model_keys(file->config());
  std::vector<Override> keys;
  for (const auto& [name, value] : model.items())
    keys.push_back({cat("--from ", path.string()), cat("model.", name),
                    value.is_string()         ? value.get<std::string>()
                    : value.is_number_float() ? real_text(value.get<double>())
                                              : value.dump(),
                    true});
  return keys;
}

void check_tokens(const Recipe& recipe, const std::filesystem::path& path) {
  if (recipe.data.source != "store") return;
  const data::Manifest::Tokenizer store = data::TokenStore(recipe.data.path).manifest().tokenizer;
  const text::TokenizerSpec spec = formats::open_model(path)->tokenizer();
  const bool is_bytes = formats::is_of_bytes(spec);
  if (is_bytes ? store.identity.empty() : store.identity == text::identity(spec)) return;
  throw InputError(cat(recipe.place("data.path"), " - data.path: the store's tokens are ", store.kind, ", but not those of --from ",
                       path.string(), "; want a store that was made with its tokenizer (shoal data, format = \"tokens\")"));
}

Network network_from(const Recipe& recipe, const std::filesystem::path& path) {
  const auto file = formats::open_model(path);
  if (recipe.model.name == "gpt") return filled(models::Gpt(gpt_config(recipe.model)), *file);
  return filled(models::Llama(llama_config(recipe.model)), *file);
}

}  // namespace shoal::app
