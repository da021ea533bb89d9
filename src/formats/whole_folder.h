// A folder that appears under its name whole, or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>

#include "base/text.h"
#include "shoal/error.h"
#include "state/durable.h"

namespace shoal::formats {

class WholeFolder {
 public:
  /// Throws InputError where it is there already, or cannot be made.
  explicit WholeFolder(const std::filesystem::path& path)
      : path_(std::filesystem::absolute(path).lexically_normal()),
        partial_(path_.parent_path() / cat(".", path_.filename().string(), ".partial")) {
    std::error_code error;
    if (std::filesystem::exists(std::filesystem::symlink_status(path_, error)))
      throw InputError(cat(path.string(), " - is there already, want the name of a new folder"));
    state::remove_tree(partial_);  // of a crash
    if (!std::filesystem::create_directory(partial_, error))
      throw InputError(cat(path.string(), " - cannot be made: ", error.message(),
                           "; want a name in a folder that is there"));
  }
  ~WholeFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(partial_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return partial_ / name; }
  void write(const std::string& name, const std::string& text) const {
    state::OutputFile file(partial_ / name);
    file.write(std::as_bytes(std::span(text)));
    file.finish();
  }
  void finish() {
    state::sync_folder(partial_);
    state::rename_path(partial_, path_);
    state::sync_folder(path_.parent_path());
  }

 private:
  std::filesystem::path path_, partial_;
};

}  // namespace shoal::formats
