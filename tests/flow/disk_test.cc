// Disks that are full or may not be written, files that may not be read or change: one sentence each.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "flow/tables.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::flow {
namespace {

/// What `work` throws, in a process of its own, which may mount and be somebody else. "skip": it may not.
std::string in_child(const std::filesystem::path& answer, const std::function<std::string()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said;
    try {
      said = work();
    } catch (const Error& error) {
      said = std::to_string(error.exit_code()) + " " + error.what();
    } catch (...) {
      said = "something else";
    }
    write_file(answer, said);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return read_file(answer);
}

bool mount_small(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") == 0;
}

class Disk : public testing::Test {
 protected:
  void SetUp() override { write_tables(temp_ / "in", 200); }
  Flow flow(const std::filesystem::path& out) const {
    Flow flow;
    return flow.read(read_tables(temp_ / "in")).sort({"x"}).write({.out = out.string(), .format = "csv"});
  }
  TempFolder temp_;
};

TEST_F(Disk, Full) {
  const std::string said = in_child(temp_ / "answer", [&]() -> std::string {
    if (!mount_small(temp_ / "disk")) return "skip";
    run_flow(flow(temp_ / "disk/out"));
    return "done";
  });
  if (said == "skip") GTEST_SKIP() << "nothing may be mounted here";
  EXPECT_EQ(said, "1 " + (temp_ / "disk/out/.work/s0-p0-r0.run").string() +
                      " - cannot be written: No space left on device");
}

TEST_F(Disk, ReadOnly) {
  const std::string said = in_child(temp_ / "answer", [&]() -> std::string {
    if (!mount_small(temp_ / "disk") ||
        ::mount(nullptr, (temp_ / "disk").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0)
      return "skip";
    run_flow(flow(temp_ / "disk/out"));
    return "done";
  });
  if (said == "skip") GTEST_SKIP() << "nothing may be mounted here";
  EXPECT_EQ(said, "2 " + (temp_ / "disk/out").string() +
                      " - cannot be made: Read-only file system; name another --out");
}

TEST_F(Disk, UnreadableFile) {
  const std::string file = (temp_ / "in/t1.jsonl").string();
  ::chmod(file.c_str(), 0);
  const std::string said = in_child(temp_ / "answer", [&]() -> std::string {
    write_file(temp_ / "answer", "");
    ::chmod((temp_ / "answer").c_str(), 0666);
    ::chmod((temp_ / "in").parent_path().c_str(), 0777);
    if (::geteuid() == 0 && ::setuid(65534) != 0) return "skip";
    run_flow(flow(temp_ / "out"));
    return "done";
  });
  if (said == "skip") GTEST_SKIP() << "this process cannot be somebody else";
  EXPECT_TRUE(said.starts_with("2 " + file + " - cannot be read: Permission denied")) << said;
}

TEST_F(Disk, InputThatChanges) {
  for (const std::string format : {"csv", "parquet", "ipc"}) {
    const auto table = temp_ / (format + " table");
    run_flow(Flow().read(read_tables(temp_ / "in")).write({.out = table.string(), .format = format}));
    std::string file;
    for (const auto& [name, bytes] : contents(table))
      if (name.starts_with("part-") && file.empty()) file = (table / name).string();
    Flow flow;
    flow.read({.paths = {file}}).sort({"x"}).write({.out = (temp_ / (format + " out")).string()});
    bool is_changed = false;
    const auto change = [&](const FlowProgress&) {  // before the first part
      if (!std::exchange(is_changed, true)) write_file(file, read_file(file) + "1");
    };
    try {
      run_flow(flow, {.on_progress = change});
      ADD_FAILURE() << format;
    } catch (const JobError& error) {
      const std::string said = error.what();
      EXPECT_EQ(said.find(file + " - changed while it was read: got "), 0u) << said;
    }
  }
}

}  // namespace
}  // namespace shoal::flow
