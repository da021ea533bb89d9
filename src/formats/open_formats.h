// A function for each kind of model on the disk; open_model chooses among them.
#pragma once

#include <filesystem>
#include <memory>

#include "formats/model_file.h"

namespace shoal::formats {

std::shared_ptr<const ModelFile> open_gguf(const std::filesystem::path& file);
std::shared_ptr<const ModelFile> open_hf(const std::filesystem::path& folder);
std::shared_ptr<const ModelFile> open_checkpoint(const std::filesystem::path& path);

}  // namespace shoal::formats
