// The promise: for one run every number of devices gives the same bits, over every transport, stopped and
// resumed anywhere.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "equivalence/cells.h"

namespace shoal::test {
namespace {

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "shoal-layouts-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Runs all cells on each number of devices, resuming each time what the number before had saved half-way;
// compares with the first.
void expect_one_answer(
    const std::function<void(int devices, const fs::path& out, const fs::path& previous)>& run) {
  const TemporaryFolder folder;
  std::map<std::string, Bits> reference;
  int cells = 0, equal = 0;
  fs::path previous;
  for (const int devices : {1, 8, 2, 6, 3, 4, 1}) {
    const fs::path out = folder.path() / cat(devices, previous.empty() ? "" : "-again");
    run(devices, out, previous);
    const auto results = read_results(out);
    ASSERT_EQ(results.size(), all_cells().size() / (devices == 8 ? 2 : 1)) << devices << " devices";
    for (const auto& [name, result] : results) {
      const Bits& want = reference.try_emplace(name, result.whole).first->second;
      for (const Bits* got : {&result.whole, &result.resumed}) {
        if (got->hash.empty()) continue;  // the first has nothing to resume from
        ++cells;
        equal += *got == want;
        const char* how = got == &result.whole ? " from the start" : " resumed";
        EXPECT_EQ(got->losses, want.losses)
            << name << " on " << devices << " devices," << how << ": losses differ";
        EXPECT_EQ(got->hash, want.hash)
            << name << " on " << devices << " devices," << how << ": the content hash differs";
      }
    }
    previous = out;
  }
  std::printf("cells run %d, cells equal %d\n", cells, equal);
  EXPECT_EQ(cells,
            static_cast<int>(all_cells().size()) * 23 / 2);  // half of them need 8 microbatches for 8 devices
}

TEST(Layouts, GiveOneAnswerOverThreads) {
  expect_one_answer([](int devices, const fs::path& out, const fs::path& previous) {
    World::threads(devices, [&](World& world) { run_cells(world, out, previous); });
  });
}

TEST(Layouts, GiveOneAnswerOverSharedMemory) {
  expect_one_answer([](int devices, const fs::path& out, const fs::path& previous) {
    const std::string command = cat(SHOAL_COMMAND, " run -n ", devices, " ", CELLS_PROGRAM, " ", out.string(),
                                    previous.empty() ? "" : " ", previous.string());
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  });
}

// The comparison can fail: another seed, another learning rate or another order of sums is another answer.
TEST(Layouts, AnotherNumberOfMicrobatchesIsAnotherRun) {
  const TemporaryFolder folder;
  World::threads(1, [&](World& world) { run_cells(world, folder.path() / "out", ""); });
  const auto results = read_results(folder.path() / "out");
  EXPECT_NE(results.at("gpt fp32 M=8").whole.hash, results.at("gpt fp32 M=6").whole.hash);
  EXPECT_NE(results.at("gpt fp32 M=8").whole.losses, results.at("gpt bf16 M=8").whole.losses);
}

}  // namespace
}  // namespace shoal::test
