#include <map>

#include "base/text.h"
#include "formats/gguf.h"
#include "formats/gguf_config.h"
#include "formats/model_shape.h"
#include "formats/open_formats.h"
#include "formats/weight_table.h"

namespace shoal::formats {
namespace {

class GgufModel : public ModelFile {
 public:
  explicit GgufModel(const std::filesystem::path& path) : file_(path), config_(gguf_config(file_)) {
    for (const GgufFile::Tensor& tensor : file_.tensors()) {
      const size_t fused = tensor.name.find(".attn_qkv.");
      if (config_.architecture == Architecture::kGpt2 && fused != std::string::npos)
        add_parts(tensor, tensor.name.substr(0, fused), tensor.name.substr(fused + sizeof(".attn_qkv.") - 1));
      else
        weights_.add(tensor.name, tensor.weight);
    }
    weights_.check(config_, file_.place());
  }

  const ModelConfig& config() const override { return config_; }
  std::optional<Weight> weight(const std::string& name) const override { return weights_.find(name); }
  std::vector<std::string> weight_names() const override { return weights_.names(); }
  text::TokenizerSpec tokenizer() const override { return gguf_tokenizer(file_, config_.vocabulary); }
  std::string chat_template() const override { return file_.text("tokenizer.chat_template").value_or(""); }
  std::string place() const override { return file_.place(); }

 private:
  /// [q; k; v], as GPT-2 keeps them, are three matrices one after the other; of the biases, three parts of a
  /// row.
  void add_parts(const GgufFile::Tensor& tensor, const std::string& layer, const std::string& kind) {
    const bool is_vector = tensor.shape.size() == 1;
    Weight part = tensor.weight;
    int64_t& size = is_vector ? part.columns : part.rows;
    const bool can_be_cut = size % 3 == 0 && (!is_vector || info(part.type).block_elements == 1);
    if (!can_be_cut) return weights_.add(tensor.name, tensor.weight);  // refused by its name
    size /= 3;
    for (const char* const name : {".attn_q.", ".attn_k.", ".attn_v."}) {
      weights_.add(layer + name + kind, part);
      part.data += bytes_of(part);
    }
  }

  const GgufFile file_;
  const ModelConfig config_;
  WeightTable weights_;
};

}  // namespace

std::shared_ptr<const ModelFile> open_gguf(const std::filesystem::path& file) {
  return std::make_shared<GgufModel>(file);
}

}  // namespace shoal::formats
