#include "state/folder.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <vector>

#include "base/text.h"
#include "shoal/error.h"
#include "state/checkpoint.h"
#include "state/durable.h"

namespace shoal::state {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPartial = ".partial";
constexpr const char* kReplaced = ".replaced";

fs::path hidden(const fs::path& folder, const char* suffix) {
  return folder.parent_path() / cat(".", folder.filename().string(), suffix);
}

/// The names in a folder; none when it cannot be read.
std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    paths.push_back(entry->path());
  return paths;
}

/// The checkpoints step-<n> in a folder, oldest first.
std::vector<fs::path> steps_in(const fs::path& checkpoints) {
  std::vector<fs::path> steps = entries(checkpoints);
  std::erase_if(steps, [](const fs::path& path) { return !step_of(path) || !is_checkpoint(path); });
  std::ranges::sort(steps, {}, [](const fs::path& path) { return *step_of(path); });
  return steps;
}

/// What a crash may leave: .step-<n>.partial; and .step-<n>.replaced, which is of no more use once step-<n>
/// is there.
bool is_left_over(const fs::path& path) {
  std::string name = path.filename().string();
  const bool partial = name.ends_with(kPartial), replaced = name.ends_with(kReplaced);
  if (!name.starts_with('.') || !(partial || replaced)) return false;
  name = name.substr(1, name.size() - 1 - std::string(partial ? kPartial : kReplaced).size());
  return step_of(name) && (partial || is_checkpoint(path.parent_path() / name));
}

/// What cannot go now (NFS keeps files that somebody reads) the next prune tries again.
void clear_away(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

/// The step of a checkpoint whatever its folder is called, if it can be opened.
std::optional<int64_t> step_in(const fs::path& path) {
  try {
    if (is_checkpoint(path)) return Checkpoint(path).contents().step;
  } catch (const Error&) {
  }
  return std::nullopt;
}

bool is_whole(const fs::path& path) {
  try {
    Checkpoint(path).verify();
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(fs::symlink_status(path, error));
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

}  // namespace

std::string owner_file_name(int rank) {
  char name[40];
  std::snprintf(name, sizeof name, "owner-%05d.safetensors", rank);
  return name;
}

std::optional<int64_t> step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  constexpr std::string_view kPrefix = "step-";
  int64_t step = 0;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || stop != end || step < 0) return std::nullopt;
  return step;
}

bool is_checkpoint(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path / kManifestName, error);
}

bool lost_manifest(const fs::path& path) {
  const std::vector<fs::path> files = entries(path);
  return !files.empty() && std::ranges::all_of(files, [](const fs::path& file) {
    const std::string name = file.filename().string();
    return name.starts_with("owner-") && name.ends_with(".safetensors");
  });
}

void make_way_for_latest(const fs::path& checkpoints) {
  const fs::path copy = checkpoints / kLatestName;
  if (!is_folder(copy)) return;
  const std::optional<int64_t> step = step_in(copy);
  const fs::path named = checkpoints / cat("step-", step.value_or(0));
  if (step && !is_there(named)) return rename_path(copy, named);
  if (step && is_whole(named) && content_hash(named) == content_hash(copy)) {
    remove_tree(hidden(named, kPartial));
    rename_path(copy, hidden(named, kPartial));  // should this process die now, it is cleared away
    return remove_tree(hidden(named, kPartial));
  }
  for (int number = 1;; ++number) {
    const fs::path kept = checkpoints / cat(kLatestName, "-copy-", number);
    if (!is_there(kept)) return rename_path(copy, kept);
  }
}

fs::path resolve(const fs::path& path) {
  std::error_code error;
  // A link is followed by hand, so that a reader keeps to one checkpoint while a run moves `latest` on.
  const fs::path target =
      fs::is_symlink(path, error) ? path.parent_path() / fs::read_symlink(path, error) : path;
  if (is_checkpoint(target)) return target;
  if (const auto found = latest(target)) return *found;
  constexpr const char* kWant = "want a checkpoint (a folder with manifest.json) or a folder of checkpoints";
  if (fs::exists(target, error) || error) {
    throw InputError(cat(path.string(), " - not a checkpoint: ",
                         error ? error.message() : "no manifest.json in it", "; ", kWant));
  }
  if (target != path)
    throw InputError(cat(path.string(), " - not a checkpoint: a link to ", target.string(),
                         ", which is not there; ", kWant));
  throw InputError(cat(path.string(), " - no such file or folder; ", kWant));
}

std::optional<fs::path> latest(const fs::path& checkpoints) {
  std::error_code error;
  const fs::path target = fs::read_symlink(checkpoints / kLatestName, error);
  if (!error && is_checkpoint(checkpoints / target)) return checkpoints / target;
  const auto steps = steps_in(checkpoints);
  if (is_folder(checkpoints / kLatestName)) {  // a copy that follows links made it
    const std::optional<int64_t> copied = step_in(checkpoints / kLatestName);
    if (copied && (steps.empty() || *copied > *step_of(steps.back()))) return checkpoints / kLatestName;
  }
  return steps.empty() ? std::nullopt : std::optional(steps.back());
}

std::optional<fs::path> latest_without_manifest(const fs::path& checkpoints) {
  std::error_code error;
  const fs::path target = fs::read_symlink(checkpoints / kLatestName, error);
  if (!error && is_checkpoint(checkpoints / target)) return std::nullopt;
  if (!error && lost_manifest(checkpoints / target)) return checkpoints / target;
  std::vector<fs::path> steps = entries(checkpoints);
  std::erase_if(steps, [](const fs::path& path) { return !step_of(path) || !is_folder(path); });
  const auto last = std::ranges::max_element(steps, {}, [](const fs::path& path) { return *step_of(path); });
  return last == steps.end() || !lost_manifest(*last) ? std::nullopt : std::optional(*last);
}

std::optional<fs::path> newest_whole(const fs::path& checkpoints) {
  auto steps = steps_in(checkpoints);
  std::ranges::reverse(steps);
  const auto found = std::ranges::find_if(steps, is_whole);
  return found == steps.end() ? std::nullopt : std::optional(*found);
}

void prune(const fs::path& checkpoints, int keep) {
  for (const fs::path& path : entries(checkpoints)) {
    if (is_left_over(path)) clear_away(path);
  }
  const auto steps = steps_in(checkpoints);
  const auto newest = latest(checkpoints);
  for (size_t i = 0; i + static_cast<size_t>(keep) < steps.size(); ++i) {
    if (steps[i] == newest) continue;
    // Under another name first: half a checkpoint must never look like one.
    rename_path(steps[i], hidden(steps[i], kPartial));
    clear_away(hidden(steps[i], kPartial));
  }
}

SavePaths::SavePaths(const fs::path& path) : folder(path.lexically_normal()) {
  if (!folder.has_filename()) folder = folder.parent_path();  // "a/b/" means "a/b"
  if (!folder.has_parent_path()) folder = "." / folder;
  parent = folder.parent_path();
  partial = hidden(folder, kPartial);
  replaced = hidden(folder, kReplaced);
}

}  // namespace shoal::state
