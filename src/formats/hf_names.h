// What Hugging Face folders call the weights (transformers, models/{llama,mistral,qwen2,qwen3,gpt2}).
#pragma once

#include <string>

#include "formats/model_file.h"

namespace shoal::formats {

/// How a weight of ours lies in a tensor of such a folder.
struct HfPlace {
  std::string name;
  bool transposed = false;  // GPT-2's Conv1D keeps [inputs, outputs]
  int third = -1;           // 0 to 2: of [q | k | v], side by side in c_attn
};

/// The place of one of our weights. REQUIRES: the name is one of weights_around or weights_of_layer.
HfPlace hf_place(Architecture, const std::string& name);

/// Whether a tensor may be there that a model of this config does not use: masks, and copies of what is tied.
bool hf_ignores(const ModelConfig&, const std::string& name);

}  // namespace shoal::formats
