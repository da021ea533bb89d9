#include <algorithm>
#include <filesystem>

#include <fnmatch.h>

#include "base/text.h"
#include "flow/remote.h"
#include "flow/source.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {
namespace fs = std::filesystem;

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// The regular files under a folder, hidden ones and links left out, by path.
std::vector<std::string> files_under(const fs::path& folder, const std::string& place) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (is_hidden(entry->path())) {
      if (entry->is_directory()) entry.disable_recursion_pending();
      continue;
    }
    if (is_input_name(entry->path().filename()) && entry->is_regular_file() && !entry->is_symlink())
      found.push_back(entry->path().string());
  }
  if (error) throw InputError(cat(place, ": ", folder.string(), " cannot be read: ", error.message()));
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> matches(const fs::path& pattern) {
  std::vector<std::string> found;
  const fs::path folder = pattern.has_parent_path() ? pattern.parent_path() : fs::path(".");
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (is_hidden(entry->path()) || !entry->is_regular_file()) continue;
    if (::fnmatch(pattern.filename().c_str(), entry->path().filename().c_str(), 0) == 0)
      found.push_back(pattern.has_parent_path() ? entry->path().string() : entry->path().filename().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

bool is_input_name(const std::string& path) {
  const std::string name = fs::path(path).filename();
  return !path.starts_with('.') && path.find("/.") == std::string::npos && name != "manifest.json" &&
         name != "report.html" && !name.starts_with("bad-");
}

std::vector<std::string> list_files(const std::vector<std::string>& paths, const std::string& place) {
  if (paths.empty()) throw InputError(cat(place, ": paths: got none, want files, folders or globs"));
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    std::vector<std::string> found;
    if (is_remote(path))
      found = list_remote(path, place);
    else if (fs::is_directory(path, error))
      found = files_under(path, place);
    else if (fs::is_regular_file(path, error))
      found = {path};
    else if (path.find_first_of("*?[") != std::string::npos)
      found = matches(path);
    else
      throw InputError(cat(place, ": paths: ", path, " is no file or folder; name one that is there"));
    if (found.empty())
      throw InputError(cat(place, ": paths: got no file from ", path, ", want at least one"));
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

}  // namespace shoal::flow
