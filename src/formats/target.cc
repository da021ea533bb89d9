#include "formats/target.h"

#include "base/text.h"
#include "formats/model_shape.h"
#include "text/byte_pairs.h"

namespace shoal::formats {

bool has_in_layers(const ModelFile& model, const std::string& name) {
  return model.weight(layer_weight(0, name)).has_value();
}

WeightType target_type(WeightType of_source, std::optional<WeightType> asked, bool blocks_allowed) {
  if (asked) return *asked;
  return blocks_allowed || info(of_source).block_elements == 1 ? of_source : WeightType::kF32;
}

text::TokenizerSpec as_byte_pairs(text::TokenizerSpec spec) {
  if (spec.model != text::TokenizerModel::kBytes) return spec;
  spec.model = text::TokenizerModel::kBytePairs;
  for (size_t token = 0; token < spec.vocabulary.size(); ++token) {
    text::VocabularyEntry& entry = spec.vocabulary[token];
    if (token < 256) {
      const char byte = static_cast<char>(token);
      entry = {text::alphabet_of_bytes({&byte, 1})};
    } else if (token == 256) {
      entry = {"<|endoftext|>", 0, text::TokenKind::kControl};
    } else {
      entry = {cat("[PAD", token, "]"), 0, text::TokenKind::kUnused};
    }
  }
  text::set_pre_tokenizer(spec, "gpt-2", "byte tokens");
  return spec;
}

}  // namespace shoal::formats
