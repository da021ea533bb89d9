// What config.json of a Hugging Face folder says, in our words.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "formats/model_file.h"

namespace shoal::formats {

/// Throws InputError, which begins with `place` (the file), for what is not supported: by its key.
ModelConfig hf_config(const nlohmann::json& config, const std::string& place);

}  // namespace shoal::formats
