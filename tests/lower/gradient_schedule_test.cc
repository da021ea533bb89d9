#include "lower/gradient_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::lower {
namespace {

TEST(GradientSchedule, KeepsFewSums) {
  for (int64_t m = 1; m <= 20; ++m)
    for (int64_t dp = 1; dp <= m; ++dp)
      for (const Layout& layout : {Layout{.dp = dp}, Layout{.dp = dp, .tp = 2, .zero = 0}, Layout{.dp = dp, .zero = 2},
                                   Layout{.dp = dp, .tp = 2, .zero = 3}, Layout{.dp = dp, .servers = 1}})
        for (int rank = 0; rank < layout.devices(); ++rank) {
          const GradientSchedule schedule = schedule_gradients(m, layout, rank);
          EXPECT_LE(schedule.num_accumulators, 2 * static_cast<int>(std::ceil(std::log2(m))) + 1)
              << m << " on " << dp << ", zero " << layout.zero;
          EXPECT_EQ(std::ssize(schedule.dealt), m);
        }
}

TEST(GradientSchedule, RootsCoverTheMicrobatches) {
  const GradientSchedule schedule = schedule_gradients(6, {.dp = 4}, 1);
  std::vector<PartialSum> want = {{{0, 2}, 0, 0, true}, {{2, 4}, 1, 0, true}, {{4, 5}, 2, 0, false}, {{5, 6}, 3, 0, false}};
  EXPECT_EQ(schedule.roots, want);
  EXPECT_EQ(schedule.total(), (Sum{{0, 6}, -1, want}));
  EXPECT_EQ(schedule.root_of(1), &schedule.roots[1]);
}

TEST(GradientSchedule, MoreDevicesThanMicrobatchesAreRefused) {
  EXPECT_ERROR(schedule_gradients(4, {.dp = 5}, 0), InputError,
               "layout - dp: got 5, want at most 4 (train.microbatches), since a microbatch is never "
               "divided; raise microbatches or use fewer devices");
}

}  // namespace
}  // namespace shoal::lower
