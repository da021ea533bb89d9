#include "base/text.h"

#include <gtest/gtest.h>

namespace shoal {
namespace {

TEST(Text, CatAndJoin) {
  EXPECT_EQ(cat("got ", 3, ", want ", 4.5), "got 3, want 4.5");
  EXPECT_EQ(join(std::vector<int>{1, 2, 3}, ","), "1,2,3");
  EXPECT_EQ(join(std::vector<int>{}, ","), "");
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
}

}  // namespace
}  // namespace shoal
