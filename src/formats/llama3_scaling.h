// Llama 3.1's scaling of the rotation, as numbers that divide the frequencies: GGUF has those alone
// (rope_freqs.weight), Hugging Face's config.json the parameters that they are made from.
#pragma once

#include <vector>

#include "formats/model_file.h"

namespace shoal::formats {

/// REQUIRES: config.rope_scaling is kLlama3. rope_width / 2 numbers.
std::vector<float> llama3_factors(const ModelConfig&);

/// The config with the parameters in use that give these factors (to 1e-5). False where none do.
bool find_llama3_scaling(ModelConfig&, const std::vector<float>& factors);

}  // namespace shoal::formats
