#include "base/text.h"

#include <gtest/gtest.h>

#include <locale>

namespace shoal {
namespace {

TEST(Text, CatAndJoin) {
  EXPECT_EQ(cat("got ", 3, ", want ", 4.5), "got 3, want 4.5");
  EXPECT_EQ(join(std::vector<int>{1, 2, 3}, ","), "1,2,3");
  EXPECT_EQ(join(std::vector<int>{}, ","), "");
}

// As std::locale::global(std::locale("de_DE")) makes them, without one that must be installed.
struct GroupedDigits : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(Text, TheLocaleOfTheProgramIsForPeople) {
  const std::locale before = std::locale::global(std::locale(std::locale(), new GroupedDigits));
  const std::string glued = cat("b.weight[0:", 720896, "] ", 4.5),
                    joined = join(std::vector<double>{65536, 0.5}, ";");
  const std::string human = human_bytes(1536);
  std::locale::global(before);
  EXPECT_EQ(glued, "b.weight[0:720896] 4.5");
  EXPECT_EQ(joined, "65536;0.5");
  EXPECT_EQ(human, "1.5 KiB");
}

TEST(Text, SplitKeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(split("", ','), (std::vector<std::string>{""}));
}

TEST(Text, HumanBytes) {
  EXPECT_EQ(human_bytes(64), "64 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(uint64_t{150} << 30), "150 GiB");
}

TEST(Text, NearestFindsTyposOnly) {
  const std::vector<std::string> keys = {"steps", "global_batch", "microbatches"};
  EXPECT_EQ(nearest("step", keys), "steps");
  EXPECT_EQ(nearest("microbatchs", keys), "microbatches");
  EXPECT_EQ(nearest("banana", keys), "");
  const std::vector<std::string> axes = {"dp", "tp"};
  EXPECT_EQ(nearest("Tp", axes), "tp");
}

}  // namespace
}  // namespace shoal
