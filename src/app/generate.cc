#include "app/generate.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>

#include "app/recipe.h"
#include "app/recipe_model.h"
#include "base/blocks.h"
#include "base/random.h"
#include "base/text.h"
#include "capture/capture.h"
#include "comm/collectives.h"
#include "data/manifest.h"
#include "kernels/cpu/cpu_device.h"
#include "run/frame.h"
#include "shoal/error.h"
#include "state/checkpoint.h"

namespace shoal::app {
namespace {

Recipe recipe_of(const state::Checkpoint& checkpoint) {
  const std::string place = checkpoint.folder().string();
  const nlohmann::json& run = checkpoint.contents().run;
  const nlohmann::json note = run.is_object() && run.contains("notes")
                                  ? run["notes"].value("recipe", nlohmann::json())
                                  : nlohmann::json();
  Recipe recipe = recipe_of_note(note, place);
  if (!recipe.model.knows_text())
    throw InputError(cat(place, " - model: got ", recipe.model.name, ", want gpt or llama, which know text"));
  if (recipe.data.source != "store")
    throw InputError(cat(place, " - data: the model was trained on ", recipe.data.source,
                         " tokens, want one trained on a store of text"));
  if (recipe.model.vocabulary < data::kByteVocabulary)
    throw InputError(cat(place, " - vocabulary: got ", recipe.model.vocabulary, ", want at least ",
                         data::kByteVocabulary, " for bytes"));
  return recipe;
}

at::Tensor read_tensor(const state::Checkpoint& checkpoint, const capture::NamedTensor& tensor,
                       const std::string& role) {
  const bool is_real = tensor.tensor.scalar_type() == at::kFloat;
  if (!is_real && tensor.tensor.scalar_type() != at::kLong)
    throw InputError(cat(checkpoint.folder().string(), " - ", tensor.name,
                         ": its dtype cannot be served, want F32 or I64"));
  const std::vector<int64_t> shape = tensor.tensor.sizes().vec();
  const at::Tensor value = at::empty(shape, tensor.tensor.scalar_type());
  checkpoint.read_whole({tensor.name, role, is_real ? "F32" : "I64", shape},
                        {static_cast<std::byte*>(value.mutable_data_ptr()), value.nbytes()});
  return value;
}

}  // namespace

int64_t choose_token(std::vector<double> logits, const GenerateOptions& options, double unit) {
  if (options.temperature == 0) return std::ranges::max_element(logits) - logits.begin();
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](int64_t token) { return logits[static_cast<size_t>(token)]; };
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return logit(a) > logit(b); });
  if (options.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(options.top_k)));
  std::vector<double> weights;
  for (const int64_t token : order)
    weights.push_back(std::exp((logit(token) - logit(order.front())) / options.temperature));
  double left = unit * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (size_t i = 0; i < order.size(); ++i)
    if ((left -= weights[i]) < 0) return order[i];
  return order.back();
}

struct TextModel::Impl {
  explicit Impl(const std::filesystem::path& path) : checkpoint(path), recipe(recipe_of(checkpoint)) {}

  void load() {
    if (frame) return;
    kernels::Device& device = kernels::cpu();
    device.make_reproducible();
    at::set_num_threads(static_cast<int>(recipe.layout.threads));
    const Network network = describe_network(recipe.model);
    network.module->eval();
    const std::vector<graph::TensorType> types = {
        graph::contiguous_type(at::kLong, {1, recipe.model.context})};
    graph = capture::capture_forward(
        device, *network.module, [&](const Batch& batch) { return network.forward(batch[0]); }, types,
        recipe.precision());

    const capture::NamedTensors tensors = capture::named_tensors(*network.module);
    std::map<std::string, at::Tensor> by_name;
    for (const auto& tensor : tensors.parameters)
      by_name[tensor.name] = read_tensor(checkpoint, tensor, "weight");
    for (const auto& tensor : tensors.buffers)
      by_name[tensor.name] = read_tensor(checkpoint, tensor, "buffer");
    for (const graph::Input& input : graph.inputs) {
      const bool is_stored =
          input.kind == graph::InputKind::kParameter || input.kind == graph::InputKind::kBuffer;
      inputs.push_back(is_stored ? by_name.at(input.name).to(graph.type(input.value).dtype) : at::Tensor());
    }
    compiled = std::make_unique<run::CompiledGraph>(graph, device);
    frame = std::make_unique<run::Frame>(*compiled);
  }

  /// The logits of what follows `text`; bytes and the end of the document only.
  std::vector<double> next_logits(std::span<const int64_t> text) {
    const size_t context = static_cast<size_t>(recipe.model.context);
    const std::span<const int64_t> seen = text.last(std::min(text.size(), context));
    const at::Tensor tokens = at::zeros({1, recipe.model.context},
                                        at::kLong);  // padded on the right, where nothing looks from the left
    std::ranges::copy(seen, tokens.mutable_data_ptr<int64_t>());
    for (size_t i = 0; i < inputs.size(); ++i)
      if (graph.inputs[i].kind == graph::InputKind::kBatch) inputs[i] = tokens;
    std::vector<double> logits(data::kByteVocabulary);
    const at::AutoGradMode without_gradients(false);
    frame->run_all({.inputs = inputs}, [&](int, const at::Tensor& all) {
      const at::Tensor last = all[0][static_cast<int64_t>(seen.size()) - 1].to(at::kDouble).contiguous();
      std::copy_n(last.const_data_ptr<double>(), logits.size(), logits.begin());
    });
    return logits;
  }

  const state::Checkpoint checkpoint;
  const Recipe recipe;
  graph::Graph graph;
  std::vector<at::Tensor> inputs;  // as graph.inputs; the batch is filled in
  std::unique_ptr<run::CompiledGraph> compiled;
  std::unique_ptr<run::Frame> frame;
};

TextModel::TextModel(const std::filesystem::path& checkpoint) : impl_(std::make_unique<Impl>(checkpoint)) {}
TextModel::~TextModel() = default;
TextModel::TextModel(TextModel&&) noexcept = default;

void TextModel::load() { impl_->load(); }

std::string TextModel::generate(const std::string& prompt, int64_t number, const GenerateOptions& options) {
  load();
  std::vector<int64_t> text;
  for (const char c : prompt) text.push_back(static_cast<unsigned char>(c));
  std::string generated;
  for (int64_t position = 0; position < options.tokens; ++position) {
    const double unit =
        random_unit(options.seed, static_cast<uint64_t>(number), static_cast<uint64_t>(position));
    const int64_t token = choose_token(impl_->next_logits(text), options, unit);
    if (token == data::kEndOfDocument) break;
    text.push_back(token);
    generated.push_back(static_cast<char>(token));
  }
  return generated;
}

std::vector<std::string> generate_all(comm::Group& world, TextModel& model,
                                      const std::vector<std::string>& prompts,
                                      const GenerateOptions& options) {
  const auto part = [&](int rank) { return share(static_cast<int64_t>(prompts.size()), world.size(), rank); };
  // A text travels as its length and its bytes.
  std::vector<std::byte> mine;
  for (int64_t i = part(world.rank()).begin; i < part(world.rank()).end; ++i) {
    world.communicator().set_activity(cat("prompt ", i + 1));
    const std::string text = model.generate(prompts[static_cast<size_t>(i)], i, options);
    const uint64_t length = text.size();
    const auto append = [&](const void* from, size_t bytes) {
      const auto* begin = static_cast<const std::byte*>(from);
      mine.insert(mine.end(), begin, begin + bytes);
    };
    append(&length, sizeof length);
    append(text.data(), text.size());
  }
  const auto everyones = comm::all_gather(world, mine);
  std::vector<std::string> texts;
  if (world.rank() != 0) return texts;
  for (std::span<const std::byte> bytes : everyones) {
    while (!bytes.empty()) {
      uint64_t length = 0;
      std::memcpy(&length, bytes.data(), sizeof length);
      texts.emplace_back(reinterpret_cast<const char*>(bytes.data()) + sizeof length, length);
      bytes = bytes.subspan(sizeof length + length);
    }
  }
  return texts;
}

}  // namespace shoal::app
