#include "app/metrics.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <limits>

#include "app/run_folder.h"
#include "state/support.h"

namespace shoal::app {
namespace {

using state::read_text;
using state::sentence_of;
using state::TemporaryFolder;
using state::write_text;

Metrics line_of(int64_t step) {
  Metrics metrics;
  metrics.step = step;
  metrics.loss = 2.5f;
  metrics.grad_norm = 0.75;
  metrics.lr = 1e-3;
  metrics.tokens_per_second = 1000;
  metrics.step_seconds = 0.5;
  metrics.peak_bytes = {4096, 8192};
  return metrics;
}

TEST(MetricsTest, OneLineOfJson) {
  Metrics metrics = line_of(3);
  EXPECT_EQ(
      to_json(metrics),
      R"({"step":3,"loss":2.5,"loss_bits":"40200000","grad_norm":0.75,"lr":0.001,"tokens_per_second":1000.0,)"
      R"("step_seconds":0.5,"peak_bytes":[4096,8192]})");
  metrics.validation_loss = 2.25;
  EXPECT_TRUE(to_json(metrics).ends_with(R"("peak_bytes":[4096,8192],"validation_loss":2.25})"))
      << to_json(metrics);
  metrics.loss = std::numeric_limits<float>::infinity();
  EXPECT_NE(to_json(metrics).find(R"("loss":null,"loss_bits":"7f800000")"), std::string::npos)
      << to_json(metrics);
}

TEST(MetricsTest, ResumingKeepsTheStepsThatTheCheckpointHas) {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  {
    MetricsFile file(path, 0);
    for (int64_t step = 1; step <= 5; ++step) file.add(line_of(step));
  }
  write_text(path, read_text(path) + "{\"step\":6,\"lo");  // a crash in the middle of a line
  MetricsFile file(path, 3);
  file.add(line_of(4));
  std::string want;
  for (int64_t step = 1; step <= 4; ++step) want += to_json(line_of(step)) + "\n";
  EXPECT_EQ(read_text(path), want);
}

/// No file may grow beyond `bytes`: a disk that is full.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) {
    signal_before_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_before_);
  }

 private:
  rlimit before_;
  void (*signal_before_)(int);
};

TEST(MetricsTest, AFullDiskIsOneSentence) {
  const TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  MetricsFile file(path, 0);
  EXPECT_EQ(sentence_of<JobError>([&] {
              const SmallDisk disk(1000);
              for (int64_t step = 1; step <= 100; ++step) file.add(line_of(step));
            }),
            path.string() + " - cannot be written: File too large");
  EXPECT_EQ(
      sentence_of<JobError>([&] { MetricsFile nowhere(folder / "nowhere" / "metrics.jsonl", 0); }),
      (folder / "nowhere" / "metrics.jsonl").string() + " - cannot be written: No such file or directory");
}

TEST(RunFolderTest, AFolderIsTakenByOneRun) {
  const TemporaryFolder folder;
  const auto out = folder / "run";
  EXPECT_TRUE(make_folder(out));
  EXPECT_FALSE(make_folder(out));
  check_run_folder(out, false);  // still empty
  write_text(out / "metrics.jsonl", "");
  check_run_folder(out, true);
  EXPECT_EQ(sentence_of<InputError>([&] { check_run_folder(out, false); }),
            out.string() +
                " - there is a run already, which saved no checkpoint to go on from; remove it, or choose "
                "another --out");
  EXPECT_EQ(
      sentence_of<InputError>([&] { make_folder(out / "metrics.jsonl" / "x"); }),
      (out / "metrics.jsonl" / "x").string() + " - cannot be made: Not a directory; choose another --out");
  std::filesystem::create_symlink("gone", folder / "link");
  EXPECT_EQ(
      sentence_of<InputError>([&] { make_folder(folder / "link"); }),
      (folder / "link").string() +
          " - cannot be made: it is a link to gone, which is not there; make that, or choose another --out");
  EXPECT_EQ(
      sentence_of<InputError>([&] { last_checkpoint(out); }),
      (out / "checkpoints").string() + " - no checkpoint to resume from; start anew with another --out");
  EXPECT_EQ(
      sentence_of<InputError>([&] { last_checkpoint(folder / "new"); }),
      (folder / "new" / "checkpoints").string() + " - no checkpoint to resume from; start without --resume");
}

}  // namespace
}  // namespace shoal::app
