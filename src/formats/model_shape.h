// What follows from a model's hyperparameters: which weights it has, and their shapes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/model_file.h"

namespace shoal::formats {

inline constexpr int64_t kMostLayers = 4096;

/// Throws InputError, which begins with `place`, where the numbers contradict each other or are no numbers
/// of a model. What passes can be multiplied without overflow.
void check_config(const ModelConfig&, const std::string& place);

struct WantedWeight {
  std::string name;
  int64_t rows, columns;
  bool optional = false;
};
/// Those outside of the layers, then those of a layer. REQUIRES: the config was checked.
std::vector<WantedWeight> weights_around(const ModelConfig&);
std::vector<WantedWeight> weights_of_layer(const ModelConfig&, int64_t layer);
/// Both, layer after layer.
std::vector<WantedWeight> all_weights(const ModelConfig&);

/// "blk.3.attn_q.weight"
std::string layer_weight(int64_t layer, const std::string& name);

}  // namespace shoal::formats
