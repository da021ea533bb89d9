#include "app/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <system_error>

#include "base/text.h"
#include "shoal/error.h"
#include "state/checkpoint.h"

namespace shoal::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRuns = "runs";

fs::path numbered(const fs::path& recipe, int64_t number) {
  return fs::path(kRuns) / cat(recipe.stem().string(), "-", number);
}

/// n of <recipe>-<n>.
std::optional<int64_t> number_of(const std::string& name, const std::string& stem) {
  if (!name.starts_with(stem + "-")) return std::nullopt;
  const std::string digits = name.substr(stem.size() + 1);
  if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::stoll(digits);
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

bool has_run(const fs::path& out) { return is_there(out / "metrics.jsonl") || is_there(out / "checkpoints"); }

[[noreturn]] void refuse_to_write(const fs::path& path) {
  throw InputError(cat(path.string(), " - cannot be written: ", std::generic_category().message(errno),
                       "; choose another --out"));
}

void check_writable(const fs::path& path, int how) {
  if (::access(path.c_str(), how) != 0) refuse_to_write(path);
}

/// By making a file: what a file system allows is more than its modes say (root on NFS, a full disk).
void check_can_hold_files(const fs::path& folder) {
  check_writable(folder, W_OK | X_OK);
  const fs::path probe = folder / cat(".can-hold-files-", ::getpid());
  const int descriptor = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) refuse_to_write(folder);
  ::close(descriptor);
  ::unlink(probe.c_str());
}

}  // namespace

bool make_folder(const fs::path& folder) {
  std::error_code error;
  const fs::file_status there = fs::symlink_status(folder, error);
  if (fs::is_symlink(there) && !fs::exists(folder, error))
    throw InputError(cat(folder.string(), " - cannot be made: it is a link to ",
                         fs::read_symlink(folder, error).string(),
                         ", which is not there; make that, or choose another --out"));
  const bool is_new = fs::create_directories(folder, error);
  if (error)
    throw InputError(cat(folder.string(), " - cannot be made: ", error.message(), "; choose another --out"));
  return is_new;
}

fs::path new_run_folder(const fs::path& recipe) {
  for (int64_t number = 1;; ++number)
    if (make_folder(numbered(recipe, number))) return numbered(recipe, number);
}

fs::path newest_run_folder(const fs::path& recipe) {
  const std::string stem = recipe.stem().string();
  int64_t newest = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(kRuns, ignored)) {
    const std::optional<int64_t> number = number_of(entry.path().filename().string(), stem);
    if (number && *number > newest && state::latest(entry.path() / "checkpoints")) newest = *number;
  }
  if (newest == 0)
    throw InputError(
        cat(kRuns, "/", stem,
            "-<n> - no run with a checkpoint to resume; name one with --out DIR or --resume CHECKPOINT"));
  return numbered(recipe, newest);
}

void check_run_folder(const fs::path& out, bool resumes) {
  check_can_hold_files(out);
  if (is_there(out / "checkpoints")) check_writable(out / "checkpoints", W_OK | X_OK);
  if (is_there(out / "metrics.jsonl")) {
    check_writable(out / "metrics.jsonl", R_OK | W_OK);
    std::error_code ignored;
    if (!fs::is_regular_file(out / "metrics.jsonl", ignored))
      throw InputError(cat((out / "metrics.jsonl").string(),
                           " - cannot be written: got no regular file, want one; choose another --out"));
  }
  if (!resumes && has_run(out))
    throw InputError(
        cat(out.string(), " - there is a run already",
            state::latest(out / "checkpoints")
                ? "; go on with --resume, or choose another --out"
                : ", which saved no checkpoint to go on from; remove it, or choose another --out"));
}

void check_run_of(const fs::path& out, const fs::path& checkpoint) {
  std::error_code ignored;
  if (has_run(out) && !fs::equivalent(checkpoint.parent_path(), out / "checkpoints", ignored))
    throw InputError(cat(out.string(), " - there is a run already, and ", checkpoint.string(),
                         " is not of it; choose another --out"));
}

FolderLock::FolderLock(const fs::path& folder)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  // The lock goes with the last descriptor: however the process ends, it leaves none behind. File systems
  // that know no locks let everybody in.
  if (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(descriptor_);
    throw InputError(
        cat(folder.string(), " - another run is writing there; wait for its end, or choose another --out"));
  }
}
FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

fs::path last_checkpoint(const fs::path& out) {
  if (const std::optional<fs::path> broken = state::latest_without_manifest(out / "checkpoints"))
    throw InputError(cat(broken->string(), " - damaged: its manifest.json is gone; use another checkpoint"));
  const std::optional<fs::path> last = state::latest(out / "checkpoints");
  if (!last)
    throw InputError(cat((out / "checkpoints").string(), " - no checkpoint to resume from; start ",
                         has_run(out) ? "anew with another --out" : "without --resume"));
  return *last;
}

}  // namespace shoal::app
