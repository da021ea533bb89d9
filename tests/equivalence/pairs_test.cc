// Two trainers in one World do not know of each other: each gives the bits that it gives alone.
#include "equivalence/pairs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/text.h"

namespace shoal::test {
namespace {

namespace fs = std::filesystem;

class Pairs : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "shoal-pairs-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(folder_); }

  PairBits over_threads(const Pair& pair) const {
    PairBits bits;
    World::threads(static_cast<int>(pair.layouts[0].devices()), [&](World& world) {
      const PairBits mine = run_pair(world, pair, folder_);
      if (world.rank() == 0) bits = mine;
    });
    return bits;
  }

  PairBits over_shared_memory() const {
    const std::string command =
        cat(SHOAL_COMMAND, " run -n ", pair().layouts[0].devices(), " ", PAIRS_PROGRAM, " ", GetParam(), " ",
            folder_.string());
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    PairBits bits;
    std::ifstream file(folder_ / "bits");
    std::getline(file, bits.bits[0]);
    std::getline(file, bits.bits[1]);
    return bits;
  }

  void expect_as_alone(const PairBits& together) const {
    for (int number : {0, 1}) {
      const std::string want = over_threads(alone(pair(), number)).bits[number];
      EXPECT_GT(want.size(), 100u);
      EXPECT_EQ(together.bits[number], want) << pair().name() << ": trainer " << number;
    }
  }

  Pair pair() const { return all_pairs().at(GetParam()); }

 private:
  fs::path folder_;
};

TEST_P(Pairs, GiveTheBitsOfEachAlone) { expect_as_alone(over_threads(pair())); }
TEST_P(Pairs, GiveTheBitsOfEachAloneOverSharedMemory) { expect_as_alone(over_shared_memory()); }

INSTANTIATE_TEST_SUITE_P(Layouts, Pairs, testing::Range<size_t>(0, all_pairs().size()));

}  // namespace
}  // namespace shoal::test
