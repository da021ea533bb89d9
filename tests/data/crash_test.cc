// kill -9 of a real process at every step of the writer, and at random instants; then the same command again.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "base/text.h"
#include "data/corpus.h"
#include "data/token_store.h"

namespace shoal::data {
namespace {

/// Dies at the step number `fatal_step`: the writer names each change to the folder before it makes it.
class MortalCommunicator : public comm::Communicator {
 public:
  MortalCommunicator(comm::Communicator& inner, std::atomic<int>& steps, int fatal_step)
      : inner_(inner), steps_(steps), fatal_step_(fatal_step) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::unique_ptr<comm::Link> link(std::span<const int> ranks) override { return inner_.link(ranks); }
  void abort(std::string_view reason) noexcept override { inner_.abort(reason); }
  std::string activity() const override { return inner_.activity(); }
  std::string waiting() const override { return inner_.waiting(); }
  void set_activity(std::string_view activity) noexcept override {
    if (activity.starts_with("data: ") && steps_++ == fatal_step_) ::raise(SIGKILL);
    inner_.set_activity(activity);
  }

 private:
  comm::Communicator& inner_;
  std::atomic<int>& steps_;
  int fatal_step_;
};

/// Runs `body` in a child process and returns how it ended, as waitpid says it. 0: it returned.
int in_child(
    const std::function<void()>& body, const std::function<void(pid_t)>& meanwhile = [](pid_t) {}) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      body();
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  meanwhile(child);
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

bool was_killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }

void build_and_die(int devices, const Pipeline& pipeline, int fatal_step) {
  std::atomic<int> steps = 0;
  comm::run_threads(devices, [&](comm::Communicator& comm) {
    MortalCommunicator mortal(comm, steps, fatal_step);
    comm::Group world(mortal);
    build_store(world, pipeline, [](const Progress&) {});
  });
}

class Crash : public testing::TestWithParam<int> {
 protected:
  Crash() {
    write_corpus(temp_ / "in", {{"a", std::string(100, 'a')},
                                {"b", std::string(63, 'b')},
                                {"c", std::string(200, 'c')},
                                {"d", "d"}});
    pipeline_ = {.inputs = {(temp_ / "in").string()},
                 .suffixes = {},
                 .exclude = {},
                 .validation_every = 3,
                 .shard_tokens = 64,
                 .out = temp_ / "whole"};
    build_on(1, pipeline_);
    whole_ = contents(pipeline_.out);
    pipeline_.out = temp_ / "out";
  }

  /// Never a store that is not the whole one.
  void expect_nothing_false() const {
    if (!fs::exists(pipeline_.out / "manifest.json")) return;
    TokenStore(pipeline_.out).verify();
    for (const auto& [name, bytes] : whole_) EXPECT_EQ(read_file(pipeline_.out / name), bytes);
  }

  TempFolder temp_;
  Pipeline pipeline_;
  std::map<std::string, std::string> whole_;
};

TEST_P(Crash, AtEveryStepThenResumed) {
  const int devices = GetParam();
  int step = 0;
  for (;; ++step) {
    SCOPED_TRACE(cat("killed at step ", step));
    fs::remove_all(pipeline_.out);
    const int status = in_child([&] { build_and_die(devices, pipeline_, step); });
    if (!was_killed(status)) {
      EXPECT_EQ(status, 0);
      break;
    }
    expect_nothing_false();
    build_on(1 + step % 3, pipeline_);
    ASSERT_EQ(contents(pipeline_.out), whole_);
  }
  // Each of the 7 shards: 2 files in 3 steps, and a .sum removed; the manifest: 3 steps.
  EXPECT_EQ(step, 7 * 7 + 3);
}

TEST_P(Crash, AgainAndAgainWithoutLosingWork) {
  // A shard takes 6 steps, so by then at least one rank has finished one.
  const int fatal_step = 6 * GetParam() + 1;
  int kills = 0;
  for (; was_killed(in_child([&] { build_and_die(GetParam(), pipeline_, fatal_step); })); ++kills) {
    ASSERT_LT(kills, 10);
    expect_nothing_false();
  }
  EXPECT_GT(kills, 0);
  EXPECT_EQ(contents(pipeline_.out), whole_);
}

INSTANTIATE_TEST_SUITE_P(Devices, Crash, testing::Values(1, 3));

TEST(CrashAtAnyInstant, IsResumed) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(cat("seed ", seed));
  std::mt19937 random(seed);
  TempFolder temp;
  Corpus corpus;
  for (int i = 0; i < 40; ++i)
    corpus[cat(i)] = std::string(20'000 + random() % 50'000, static_cast<char>('a' + i % 26));
  write_corpus(temp / "in", corpus);
  Pipeline pipeline{.inputs = {(temp / "in").string()},
                    .suffixes = {},
                    .exclude = {},
                    .shard_tokens = 1 << 14,
                    .out = temp / "whole"};
  const auto begin = std::chrono::steady_clock::now();
  build_on(2, pipeline);
  const auto duration =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
  pipeline.out = temp / "out";
  for (int run = 0; run < 12; ++run) {
    const auto wait = std::chrono::microseconds(random() % static_cast<uint64_t>(duration));
    const int status = in_child([&] { build_on(2, pipeline); },
                                [&](pid_t child) {
                                  std::this_thread::sleep_for(wait);
                                  ::kill(child, SIGKILL);
                                });
    EXPECT_TRUE(status == 0 || was_killed(status));
  }
  build_on(3, pipeline);
  EXPECT_EQ(contents(pipeline.out), contents(temp / "whole"));
}

TEST(FullDisk, IsOneSentenceAndIsResumed) {
  TempFolder temp;
  write_corpus(temp / "in", {{"a", std::string(1000, 'a')}});
  const Pipeline pipeline{.inputs = {(temp / "in").string()},
                          .suffixes = {},
                          .exclude = {},
                          .shard_tokens = 256,
                          .out = temp / "out"};
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string error = error_of([&] { build_on(1, pipeline); });
    if (error !=
        cat("job: ", (temp / "out/train-00000.tokens.part").string(), " - cannot be written: File too large"))
      ::_exit(2);
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(fs::file_size(pipeline.out / "train-00000.tokens.part"), 100u);
  EXPECT_EQ(build_on(2, pipeline).shards_written, 4);
  TokenStore(pipeline.out).verify();
}

}  // namespace
}  // namespace shoal::data
