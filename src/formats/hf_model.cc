// A Hugging Face folder: config.json, safetensors, and the tokenizer's files.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "formats/hf_config.h"
#include "formats/hf_names.h"
#include "formats/hf_tokenizer.h"
#include "formats/json_text.h"
#include "formats/model_shape.h"
#include "formats/open_formats.h"
#include "formats/safetensors_file.h"
#include "base/shown.h"
#include "formats/weight_table.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// The tensors of all files of the folder by name.
class Shards {
 public:
  explicit Shards(const fs::path& folder) {
    if (is_file(folder / "model.safetensors")) {
      open(folder / "model.safetensors");
      for (const auto& [name, tensor] : files_.front()->tensors()) tensors_[name] = &tensor;
      return;
    }
    const fs::path index = folder / "model.safetensors.index.json";
    if (!is_file(index))
      throw InputError(cat(folder.string(),
                           " - weights: got neither model.safetensors nor model.safetensors.index.json, "
                           "want one of them; convert the weights to safetensors"));
    const nlohmann::json json = read_hf_object(index);
    const auto map = Members(json, index.string()).object("weight_map");
    if (!map)
      throw InputError(cat(index.string(), " - weight_map: is missing, want the file of each tensor"));
    std::map<std::string, const SafetensorsFile*> by_name;
    for (const auto& [name, file] : map->json().items()) {
      const std::string shard = file.is_string() ? file.get<std::string>() : "";
      if (shard.empty() || shard.find('/') != std::string::npos || shard.find('\0') != std::string::npos ||
          shard == "." || shard == "..")
        throw InputError(cat(index.string(), " - ", shown(name), ": got ", shown(shard),
                             ", want the name of a file beside"));
      if (!by_name.contains(shard)) by_name[shard] = open(folder / shard);
      const auto found = by_name[shard]->tensors().find(name);
      if (found == by_name[shard]->tensors().end())
        throw InputError(
            cat(index.string(), " - ", shown(name), ": got ", shown(shard), ", which does not have it"));
      tensors_[name] = &found->second;
    }
  }

  const std::map<std::string, const SafetensorsFile::Tensor*>& tensors() const { return tensors_; }

 private:
  const SafetensorsFile* open(const fs::path& path) {
    files_.push_back(std::make_unique<SafetensorsFile>(path));
    return files_.back().get();
  }

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const SafetensorsFile::Tensor*> tensors_;
};

class HfModel : public ModelFile {
 public:
  explicit HfModel(const fs::path& folder)
      : folder_(folder),
        json_(read_hf_object(folder / "config.json")),
        config_(named(hf_config(json_, (folder / "config.json").string()))),
        shards_(folder) {
    add_weights();
    weights_.check(config_, place());
  }

  const ModelConfig& config() const override { return config_; }
  std::optional<Weight> weight(const std::string& name) const override { return weights_.find(name); }
  std::vector<std::string> weight_names() const override { return weights_.names(); }
  std::string place() const override { return folder_.string(); }

  text::TokenizerSpec tokenizer() const override { return read_hf_tokenizer(folder_, config_.vocabulary); }
  std::string chat_template() const override { return read_hf_chat_template(folder_); }

 private:
  ModelConfig named(ModelConfig config) const {
    if (config.name.empty()) config.name = fs::absolute(folder_).lexically_normal().filename().string();
    return config;
  }

  void add_weights() {
    std::set<std::string> used;
    const auto add_all = [&](const std::vector<WantedWeight>& wanted) {
      for (const WantedWeight& want : wanted) {
        const HfPlace place = hf_place(config_.architecture, want.name);
        const SafetensorsFile::Tensor* tensor = find(place.name);
        if (!tensor) continue;  // check() says what is missing
        used.insert(place.name);
        add_weight(want, place, *tensor);
      }
    };
    add_all(weights_around(config_));
    // A hostile number of layers costs no more than the tensors that are there.
    const auto most = static_cast<int64_t>(shards_.tensors().size());
    for (int64_t layer = 0; layer < std::min(config_.layers, most); ++layer)
      add_all(weights_of_layer(config_, layer));
    for (const auto& [name, tensor] : shards_.tensors()) {
      const std::string whole = name.starts_with("transformer.") ? name : prefix() + name;
      if (!used.contains(name) && !used.contains(whole) && !hf_ignores(config_, name))
        throw InputError(cat(place(), " - ", shown(name),
                             ": a tensor that no model of this kind has; want the Llama family "
                             "or GPT-2 as docs/model_files.md describes them"));
    }
  }

  /// Old GPT-2 files leave this out.
  std::string prefix() const { return config_.architecture == Architecture::kGpt2 ? "transformer." : ""; }

  const SafetensorsFile::Tensor* find(const std::string& name) const {
    auto found = shards_.tensors().find(name);
    if (found == shards_.tensors().end() && !prefix().empty() && name.starts_with(prefix()))
      found = shards_.tensors().find(name.substr(prefix().size()));
    return found == shards_.tensors().end() ? nullptr : found->second;
  }

  void add_weight(const WantedWeight& want, const HfPlace& from, const SafetensorsFile::Tensor& tensor) {
    const std::string title = cat(place(), " - ", shown(from.name));
    static const std::map<std::string, WeightType> kTypes = {
        {"F32", WeightType::kF32}, {"F16", WeightType::kF16}, {"BF16", WeightType::kBF16}};
    const auto type = kTypes.find(tensor.dtype);
    if (type == kTypes.end()) throw InputError(cat(title, ": got ", tensor.dtype, ", want F32, F16 or BF16"));
    const int64_t thirds = from.third < 0 ? 1 : 3;
    std::vector<int64_t> shape = {thirds * want.rows, want.columns};
    if (from.transposed) std::swap(shape[0], shape[1]);
    if (want.name.ends_with(".bias") || want.name.ends_with("norm.weight")) shape = {thirds * want.columns};
    if (tensor.shape != shape)
      throw InputError(cat(title, ": got shape [", join(tensor.shape, ", "), "], want [", join(shape, ", "),
                           "], as config.json says"));
    Weight weight{type->second, want.rows, want.columns, tensor.bytes.data()};
    const auto size = static_cast<size_t>(info(weight.type).block_bytes);
    const auto bytes = static_cast<size_t>(bytes_of(weight));
    if (from.transposed) {
      weights_.add(want.name, weight, [=, from = tensor.bytes.data(), third = from.third]() {
        auto copy = std::make_unique<std::byte[]>(bytes);
        const auto rows = static_cast<size_t>(weight.rows), columns = static_cast<size_t>(weight.columns);
        const size_t stride = static_cast<size_t>(thirds) * rows,
                     first = third < 0 ? 0 : static_cast<size_t>(third) * rows;
        for (size_t row = 0; row < rows; ++row)
          for (size_t column = 0; column < columns; ++column)
            std::memcpy(&copy[(row * columns + column) * size], from + (column * stride + first + row) * size,
                        size);
        return copy;
      });
      return;
    }
    if (from.third > 0) weight.data += static_cast<size_t>(from.third) * bytes;
    if (reinterpret_cast<uintptr_t>(weight.data) % size == 0) return weights_.add(want.name, weight);
    weights_.add(want.name, weight, [bytes, from = weight.data]() {  // where a header left it unaligned
      auto copy = std::make_unique<std::byte[]>(bytes);
      std::memcpy(copy.get(), from, bytes);
      return copy;
    });
  }

  const fs::path folder_;
  const nlohmann::json json_;
  const ModelConfig config_;
  const Shards shards_;
  WeightTable weights_;
};

}  // namespace

std::shared_ptr<const ModelFile> open_hf(const fs::path& folder) { return std::make_shared<HfModel>(folder); }

}  // namespace shoal::formats
