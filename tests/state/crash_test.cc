// A crash, or an error, at every call that changes the disk. This file stands between the code under test and
// the C library: the definitions below win over libc's in this program, ask the running test what should
// happen, and go on to the real ones.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdarg>
#include <functional>

#include "base/text.h"
#include "support.h"

namespace {

/// Told the name of each call and the path it is about, on the thread that makes it; returns the errno to
/// fail with, or 0 to go on.
using Script = std::function<int(const char* call, const std::string& path)>;
thread_local Script g_script;

template <class Action>
void with_script(Script script, const Action& action) {
  struct Reset {
    ~Reset() { g_script = nullptr; }
  } reset;
  g_script = std::move(script);
  action();
}

constexpr int kCrashed = 77;
constexpr int kHalfWrite = -1;  // as an "errno" for write: half of the bytes arrive, then the process dies

bool fails(const char* call, const std::string& path) {
  const int error = g_script ? g_script(call, path) : 0;
  if (error == kHalfWrite) _exit(kCrashed);
  errno = error ? error : errno;
  return error != 0;
}

std::string path_of(int descriptor) {
  char path[4096];
  const ssize_t length = readlink(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), path, sizeof path);
  return std::string(path, length < 0 ? 0 : static_cast<size_t>(length));
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  static const auto next = real<int(const char*, int, ...)>("open");
  return (flags & O_CREAT) && fails("create", path) ? -1 : next(path, flags, mode);
}

ssize_t write(int descriptor, const void* bytes, size_t size) {
  static const auto next = real<ssize_t(int, const void*, size_t)>("write");
  const int error = g_script ? g_script("write", path_of(descriptor)) : 0;
  if (error == kHalfWrite) {
    [[maybe_unused]] const ssize_t half = next(descriptor, bytes, size / 2);
    _exit(kCrashed);
  }
  if (error == 0) return next(descriptor, bytes, size);
  errno = error;
  return -1;
}

int fsync(int descriptor) {
  static const auto next = real<int(int)>("fsync");
  if (!g_script) return next(descriptor);
  return fails("fsync", path_of(descriptor)) ? -1 : 0;  // a process that dies loses nothing: save the time
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto next = real<int(const char*, mode_t)>("mkdir");
  return fails("mkdir", path) ? -1 : next(path, mode);
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = real<int(const char*, const char*)>("rename");
  return fails("rename", to) ? -1 : next(from, to);
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  static const auto next = real<int(int, const char*, int, const char*, unsigned)>("renameat2");
  return fails("exchange", to) ? -1 : next(from_folder, from, to_folder, to, flags);
}

int symlink(const char* target, const char* path) noexcept {
  static const auto next = real<int(const char*, const char*)>("symlink");
  return fails("symlink", path) ? -1 : next(target, path);
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  static const auto next = real<int(int, const char*, int)>("unlinkat");
  return fails("unlink", path) ? -1 : next(folder, path, flags);
}

}  // extern "C"

namespace shoal::state {
namespace {

namespace fs = std::filesystem;

/// A few blocks, so that each case takes milliseconds.
State small_state(int64_t step, uint64_t seed) {
  State state;
  state.contents.run = {{"seed", seed}};
  state.contents.step = step;
  state.contents.tensors = {{"w", "weight", "U8", {kBlockElements + 3}}, {"b", "weight", "F32", {5}}};
  Random random(seed);
  for (const TensorSpec& spec : state.contents.tensors) {
    auto& bytes = state.bytes.emplace_back(static_cast<size_t>(num_bytes(spec)));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  }
  return state;
}

const State kTen = small_state(10, 1), kTwelve = small_state(12, 2), kTwelveAgain = small_state(12, 3),
            kFourteen = small_state(14, 4);

/// A run that was resumed from step 10: replaces step 12, goes on to 14, keeps one.
void run_on(const fs::path& checkpoints) {
  save_whole(checkpoints / "step-12", kTwelveAgain);
  save_whole(checkpoints / "step-14", kFourteen);
  prune(checkpoints, 1);
}

std::vector<std::string> hidden_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with('.')) names.push_back(entry.path().filename());
  }
  return names;
}

/// Everything that looks like a checkpoint is one, whole, and what a run would go on from is one of `states`.
void expect_whole(const fs::path& checkpoints, std::initializer_list<const State*> states) {
  for (const auto& entry : fs::directory_iterator(checkpoints)) {
    if (fs::exists(entry.path() / "manifest.json") && !entry.path().filename().string().starts_with('.'))
      Checkpoint(entry.path()).verify();
  }
  const auto path = latest(checkpoints);
  ASSERT_TRUE(path.has_value());
  const Checkpoint checkpoint(*path);
  EXPECT_TRUE(std::ranges::any_of(states, [&](const State* state) { return holds(checkpoint, *state); }))
      << *path;
}

class CheckpointCrash : public testing::TestWithParam<bool> {
 protected:
  static bool can_exchange() { return GetParam(); }

  /// Fails exchanges where the file system of this case has none; otherwise strikes at call number `at`.
  static auto strike(int at, int error, int& calls) {
    return [=, &calls](const char* call, const std::string&) {
      if (calls++ == at) return error;
      return std::string(call) == "exchange" && !can_exchange() ? EINVAL : 0;
    };
  }

  static void start(const fs::path& checkpoints) {
    save_whole(checkpoints / "step-10", kTen);
    save_whole(checkpoints / "step-12", kTwelve);
  }
};

TEST_P(CheckpointCrash, AtEveryCallLeavesAGoodLatest) {
  const TemporaryFolder folder;
  start(folder / "start");
  int crashes = 0;
  for (bool finished = false; !finished; ++crashes) {
    SCOPED_TRACE(cat("crash at call ", crashes));
    ASSERT_LT(crashes, 500);
    const fs::path checkpoints = folder / cat("run-", crashes);
    fs::copy(folder / "start", checkpoints, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      int calls = 0;
      with_script(strike(crashes, kHalfWrite, calls), [&] { run_on(checkpoints); });
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    finished = WEXITSTATUS(status) == 0;
    ASSERT_TRUE(finished || WEXITSTATUS(status) == kCrashed);

    if (can_exchange())
      expect_whole(checkpoints, {&kTwelve, &kTwelveAgain, &kFourteen});
    else
      expect_whole(checkpoints, {&kTen, &kTwelve, &kTwelveAgain, &kFourteen});
    if (HasFatalFailure()) return;
    const auto go_on = [](const char*, const std::string&) { return 0; };
    with_script(go_on, [&] { run_on(checkpoints); });  // the next run clears what the crash left
    expect_whole(checkpoints, {&kFourteen});
    EXPECT_EQ(hidden_in(checkpoints), std::vector<std::string>{});
    fs::remove_all(checkpoints);
  }
  EXPECT_GT(crashes, 40);
}

TEST_P(CheckpointCrash, AnErrorAtEveryCallIsASentenceAndLeavesAGoodLatest) {
  const TemporaryFolder folder;
  start(folder / "start");
  const std::string cause = ": No space left on device";
  int refusals = 0;
  for (int at = 0;; ++at) {
    SCOPED_TRACE(cat("error at call ", at));
    ASSERT_LT(at, 500);
    const fs::path checkpoints = folder / cat("run-", at);
    fs::copy(folder / "start", checkpoints, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    int calls = 0;
    try {
      with_script(strike(at, ENOSPC, calls), [&] { save_whole(checkpoints / "step-12", kTwelveAgain); });
      if (calls <= at) break;  // it ended before
    } catch (const JobError& error) {
      ++refusals;
      const std::string said = error.what();
      EXPECT_TRUE(said.starts_with(checkpoints.string())) << said;
      EXPECT_TRUE(said.ends_with(cause)) << said;
      EXPECT_EQ(hidden_in(checkpoints), std::vector<std::string>{});
    }
    expect_whole(checkpoints, {&kTwelve, &kTwelveAgain});
    EXPECT_TRUE(holds(Checkpoint(checkpoints / "step-10"), kTen)) << "older checkpoints are untouched";
    if (HasFatalFailure()) return;
    fs::remove_all(checkpoints);
  }
  EXPECT_GT(refusals, 10);
}

INSTANTIATE_TEST_SUITE_P(FileSystem, CheckpointCrash, testing::Values(true, false),
                         [](const auto& info) { return info.param ? "ThatExchanges" : "ThatDoesNot"; });

TEST(CheckpointFull, OneRanksFullDiskStopsAllRanks) {
  const TemporaryFolder folder;
  save_whole(folder / "step-10", kTen);
  const State state = make_state(12, 1);
  Random random(1);
  const auto slices = divide(state, 3, random);
  std::vector<std::string> said(3);
  comm::run_threads(3, [&](comm::Communicator& communicator) {
    comm::Group world(communicator);
    const size_t rank = static_cast<size_t>(world.rank());
    int writes = 0;
    const auto full = [&](const char* call, const std::string&) {
      return rank == 1 && std::string(call) == "write" && ++writes == 2 ? ENOSPC : 0;
    };
    said[rank] = sentence_of<JobError>(
        [&] { with_script(full, [&] { save(world, folder / "step-12", state.contents, slices[rank]); }); });
  });
  const std::string want = (folder / ".step-12.partial/owner-00001.safetensors").string() +
                           " - cannot be written: No space left on device";
  EXPECT_EQ(said, std::vector<std::string>(3, want));
  EXPECT_EQ(hidden_in(folder.path()), std::vector<std::string>{});
  EXPECT_TRUE(holds(Checkpoint(folder.path()), kTen));
}

// A power cut keeps only what was fsynced: each file and name must be on the disk before something points to
// it.
TEST(CheckpointOrder, EverythingIsOnTheDiskBeforeItIsNamed) {
  const TemporaryFolder folder;
  std::vector<std::string> log;
  const auto record = [&](const char* call, const std::string& path) {
    const std::string line = cat(call, " ", fs::path(path).lexically_relative(folder.path()).string());
    if (log.empty() || log.back() != line) log.push_back(line);
    return 0;
  };
  with_script(record, [&] { save_whole(folder / "step-12", kTwelve); });
  EXPECT_EQ(log, (std::vector<std::string>{
                     "mkdir .step-12.partial",
                     "create .step-12.partial/owner-00000.safetensors",
                     "write .step-12.partial/owner-00000.safetensors",
                     "fsync .step-12.partial/owner-00000.safetensors",
                     "create .step-12.partial/manifest.json",
                     "write .step-12.partial/manifest.json",
                     "fsync .step-12.partial/manifest.json",
                     "fsync .step-12.partial",
                     "rename step-12",
                     "fsync .",
                     "symlink .latest.partial",
                     "rename latest",
                     "fsync .",
                 }));
}

}  // namespace
}  // namespace shoal::state
