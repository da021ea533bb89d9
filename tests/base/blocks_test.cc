#include "base/blocks.h"

#include <gtest/gtest.h>

namespace shoal {
namespace {

TEST(Blocks, SharesCoverTheWholeInOrder) {
  for (int64_t total : {0, 1, 6, 7, 100}) {
    for (int64_t parts : {1, 2, 3, 4, 8}) {
      int64_t next = 0;
      for (int64_t i = 0; i < parts; ++i) {
        const Range r = share(total, parts, i);
        EXPECT_EQ(r.begin, next);
        EXPECT_TRUE(r.size() == total / parts || r.size() == total / parts + 1);
        next = r.end;
      }
      EXPECT_EQ(next, total);
    }
  }
}

TEST(Blocks, CountsAndAlignment) {
  EXPECT_EQ(num_blocks(0), 0);
  EXPECT_EQ(num_blocks(kBlockElements), 1);
  EXPECT_EQ(num_blocks(kBlockElements + 1), 2);
  EXPECT_EQ(align_up(1), 64);
  EXPECT_EQ(align_up(128), 128);
}

}  // namespace
}  // namespace shoal
