// Killed at random instants and started again; two runs into one folder; damage of what was written.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "flow/damage.h"
#include "flow/manifest.h"
#include "flow/parse_flow.h"
#include "flow/tables.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::flow {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRead = R"toml(
memory = "64MB"
part_bytes = "4KB"
[read]
paths = ["IN"]
format = "jsonl"
columns = { id = "int", key = "text", x = "float", n = "int", text = "text" }
)toml";

constexpr const char* kPipeline = R"toml(
[[step]]
filter = "n > -900"
[[step]]
window = { by = ["key"], order = ["n"], columns = { i = "row_number()", s = "running_sum(x)" } }
[[step]]
group_by = ["text", "key"]
aggregates = { rows = "count()", total = "sum(x)", most = "max(i)" }
[[step]]
sort = ["-rows", "text"]
[write]
format = "csv"
)toml";

/// Rows that are read twice, and links between them.
constexpr const char* kAlike = R"toml(
[[step]]
with_column = { words = "concat(key, ' ', text)" }
[[step]]
sort = ["n"]
[[step]]
near_duplicates = { column = "words", shingles = "words:1", bands = 4, rows = 2 }
[[step]]
near_duplicates = { column = "key", shingles = "characters:2", bands = 2, rows = 3 }
[write]
format = "csv"
)toml";

/// Samples, whose manifest is made of all files.
constexpr const char* kSamples = R"toml(
[[step]]
sort = ["n", "id"]
[[step]]
filter = "x is not null"
[[step]]
split = { by = ["id"], parts = { train = 0.7, validation = 0.3 } }
[write]
format = "samples"
key = "id"
[write.fields]
text = {}
numbers = { column = ["x", "n"], dtype = "F32" }
)toml";

class Resume : public testing::Test {
 protected:
  explicit Resume(const char* steps = kPipeline) {
    std::string text = std::string(kRead) + steps;
    write_tables(temp_ / "in", 500);
    text.replace(text.find("IN"), 2, (temp_ / "in").string());
    write_file(temp_ / "p.toml", text);
  }
  /// Starts the program; its process.
  pid_t start(const fs::path& out, int devices) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (!std::freopen("/dev/null", "w", stderr) || !std::freopen("/dev/null", "w", stdout)) ::_exit(9);
      const std::string n = std::to_string(devices), file = (temp_ / "p.toml").string();
      ::execl(FLOW_PROGRAM, FLOW_PROGRAM, file.c_str(), "--out", out.c_str(), "-n", n.c_str(), nullptr);
      ::_exit(9);
    }
    return child;
  }
  static int wait_for(pid_t child) {
    int status = -1;
    ::waitpid(child, &status, 0);
    return status;
  }
  void kill_often();
  TempFolder temp_;
};

class ResumeAlike : public Resume {
 protected:
  ResumeAlike() : Resume(kAlike) {}
};

class ResumeSamples : public Resume {
 protected:
  ResumeSamples() : Resume(kSamples) {}
};

TEST_F(ResumeSamples, KilledAtAnyInstantItGoesOn) { kill_often(); }
TEST_F(ResumeAlike, KilledAtAnyInstantItGoesOn) { kill_often(); }
TEST_F(Resume, KilledAtAnyInstantItGoesOn) { kill_often(); }

void Resume::kill_often() {
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(wait_for(start(temp_ / "whole", 1)), 0);
  auto whole = std::chrono::steady_clock::now() - begin;
  const auto expected = contents(temp_ / "whole");
  ASSERT_GE(expected.size(), 3u);
  const char* wish = std::getenv("SHOAL_KILLS");
  const int kills = wish ? std::atoi(wish) : 15;
  std::mt19937 random(3);
  int killed = 0;
  for (int i = 0; i < kills; ++i) {
    const fs::path out = temp_ / ("out" + std::to_string(i));
    const pid_t child = start(out, 1 + i % 2);
    std::this_thread::sleep_for(whole * (random() % 1000) / 1000);
    ::kill(child, SIGKILL);
    if (WIFSIGNALED(wait_for(child)))
      ++killed;
    else
      whole = whole * 3 / 4;  // the machine was busier before
    // ranks die with their launcher, but not before it: a run that comes too early is told of the other
    int status = -1;
    for (int attempt = 0; attempt < 200 && status != 0; ++attempt) {
      status = wait_for(start(out, 1 + (i + 1) % 3));
      if (status != 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ASSERT_EQ(status, 0) << i;
    ASSERT_EQ(contents(out), expected) << i;
    fs::remove_all(out);
  }
  EXPECT_GT(killed, kills / 2);
}

TEST_F(Resume, WhatIsDoneIsKept) {
  Flow flow = load_flow(temp_ / "p.toml");
  flow.sink.out = (temp_ / "out").string();
  int64_t parts = 0;
  const auto stop = [&](const FlowProgress& progress) {
    if (progress.stage == 3) throw JobError("enough");
    parts = std::max(parts, progress.parts_done);
  };
  EXPECT_THROW(run_flow(flow, {.on_progress = stop}), JobError);
  EXPECT_TRUE(fs::exists(temp_ / "out/.work"));
  const FlowReport report = run_flow(flow);
  EXPECT_GT(report.parts_kept, 20);
  const FlowReport again = run_flow(flow);  // finished: compared, not made again
  EXPECT_EQ(again.parts_kept, again.files);
  EXPECT_EQ(again.rows, report.rows);
}

// What a machine that died may leave: nothing of the journal was waited for. Files without their text, a marker that runs
// were removed whose readers' work is lost.
TEST_F(Resume, AfterTheMachineDied) {
  Flow flow = load_flow(temp_ / "p.toml");
  flow.sink.out = (temp_ / "whole").string();
  run_flow(flow);
  const fs::path out = flow.sink.out = (temp_ / "out").string();
  const auto stop_at = [](int64_t stage) {
    return [stage](const FlowProgress& progress) {
      if (progress.stage == stage) throw JobError("enough");
    };
  };
  std::mt19937 random(7);
  for (const bool restarted : {false, true}) {
    EXPECT_THROW(run_flow(flow, {.on_progress = stop_at(restarted ? 3 : 2)}), JobError);
    std::vector<fs::path> journal;
    bool is_used = false;
    for (const auto& entry : fs::directory_iterator(out / ".work")) {
      if (entry.path().extension() == ".done") journal.push_back(entry.path());
      is_used = is_used || entry.path().extension() == ".used";
    }
    ASSERT_EQ(is_used, restarted);
    ASSERT_GT(journal.size(), 5u);
    for (const fs::path& path : journal)
      if (random() % 3 == 0) fs::resize_file(path, random() % fs::file_size(path));
    if (restarted) write_file(out / ".work/boot", "another");
    const FlowReport report = run_flow(flow);
    EXPECT_EQ(report.parts_kept > 0, !restarted);  // runs that are gone are made again
    EXPECT_EQ(contents(out), contents(temp_ / "whole"));
    fs::remove_all(out);
  }
}

TEST_F(Resume, OtherWorkInTheFolderIsRefused) {
  Flow flow = load_flow(temp_ / "p.toml");
  const std::string out = flow.sink.out = (temp_ / "out").string();
  const auto stop = [&](const FlowProgress& progress) {
    if (progress.stage == 2) throw JobError("enough");
  };
  EXPECT_THROW(run_flow(flow, {.on_progress = stop}), JobError);
  write_file(temp_ / "in/t9.jsonl", "");
  EXPECT_ERROR(run_flow(flow), InputError,
               out +
                   " - holds unfinished work of another flow, or of input that has changed since; remove it, "
                   "or name another --out");
  fs::remove(temp_ / "in/t9.jsonl");
  run_flow(flow);
  flow.filter("rows > 3");
  EXPECT_ERROR(run_flow(flow), InputError,
               out +
                   " - holds the output of another flow, or of input that has changed since; remove it, or "
                   "name another --out");
  flow.sink.out = (temp_ / "in").string();
  EXPECT_ERROR(run_flow(flow), InputError,
               flow.sink.out +
                   " - holds something else than a flow's output: got t0.jsonl, want a new or empty folder; "
                   "name another --out");
}

TEST_F(Resume, TwoRunsIntoOneFolder) {
  Flow flow = load_flow(temp_ / "p.toml");
  const std::string out = flow.sink.out = (temp_ / "out").string();
  std::string second;
  run_flow(flow, {.on_progress = [&](const FlowProgress& progress) {
             if (progress.stage != 2 || !second.empty()) return;
             try {
               run_flow(flow);
               second = "not refused";
             } catch (const InputError& error) {
               second = error.what();
             }
           }});
  EXPECT_EQ(second, out + " - another shoal data writes here; wait for its end, or name another --out");
}

TEST_F(Resume, EveryDamageIsFound) {
  Flow flow = load_flow(temp_ / "p.toml");
  const fs::path out = flow.sink.out = (temp_ / "out").string();
  run_flow(flow);
  expect_damage_is_found(out, 20, 40, [&] { verify_output(out); });
}

TEST_F(Resume, DiskFull) {
  const pid_t child = ::fork();
  if (child == 0) {  // files may have 2,000 bytes
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{2000, 2000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      Flow flow = load_flow(temp_ / "p.toml");
      flow.sink.out = (temp_ / "out").string();
      run_flow(flow);
    } catch (const JobError& error) {
      ::_exit(std::string(error.what()).find("cannot be written: File too large") != std::string::npos ? 3
                                                                                                       : 4);
    } catch (...) {
      ::_exit(5);
    }
    ::_exit(6);
  }
  EXPECT_EQ(WEXITSTATUS(wait_for(child)), 3);
  EXPECT_EQ(wait_for(start(temp_ / "out", 2)), 0);
}

}  // namespace
}  // namespace shoal::flow
