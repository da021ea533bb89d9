#include <system_error>

#include "base/text.h"
#include "formats/model_file.h"
#include "formats/open_formats.h"
#include "shoal/error.h"

namespace shoal::formats {

std::shared_ptr<const ModelFile> open_model(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    throw InputError(cat(path.string(),
                         " - no such file or folder: want a GGUF file, a folder with config.json, or a "
                         "checkpoint"));
  if (std::filesystem::exists(path / "config.json", ignored)) return open_hf(path);
  if (std::filesystem::is_directory(path, ignored)) return open_checkpoint(path);
  return open_gguf(path);
}

}  // namespace shoal::formats
