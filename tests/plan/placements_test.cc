#include "plan/placements.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "base/text.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::plan {
namespace {

using Shape = std::vector<int64_t>;

TensorLayout layout(const std::string& text) { return parse_tensor_layout(text, "here"); }

TEST(DeviceMeshTest, TheLastAxisVariesFastest) {
  const DeviceMesh mesh = {{{"dp", 2}, {"tp", 3}}};
  EXPECT_EQ(mesh.devices(), 6);
  EXPECT_EQ(mesh.coordinates(4), (Shape{1, 1}));
  EXPECT_EQ(mesh.group(4, 0), (Shape{1, 4}));
  EXPECT_EQ(mesh.group(4, 1), (Shape{3, 4, 5}));
  EXPECT_EQ((DeviceMesh{}.devices()), 1);
}

TEST(TensorLayoutText, ReadsWhatPrintWrites) {
  for (const char* const text : {"R", "S0", "S12,R", "P(sum),S1", "P(max)", "P(min),R,S0"})
    EXPECT_EQ(print(layout(text)), text);
  EXPECT_EQ(layout("S2,P(max)").placements,
            (std::vector<Placement>{Placement::shard(2), Placement::partial(Reduction::kMax)}));
  for (const char* const bad : {"", "S", "S-1", "S1x", "r", "P", "P(mean)", " R"})
    EXPECT_ERROR(
        layout(cat("R,", bad)), InputError,
        cat("here: got \"", bad, "\", want R, S0 (any dim), P(sum), P(max) or P(min) for each axis"));
}

TEST(TensorLayoutTest, SharesAreUnevenAndNested) {
  const DeviceMesh mesh = {{{"dp", 2}, {"tp", 3}}};
  const auto rows = [&](const char* text) {
    std::vector<std::string> ranges;
    for (int64_t device = 0; device < mesh.devices(); ++device) {
      const Range range = local_box({7, 5}, mesh, layout(text), device)[0];
      ranges.push_back(cat(range.begin, "-", range.end));
    }
    return join(ranges, " ");
  };
  EXPECT_EQ(rows("R,R"), "0-7 0-7 0-7 0-7 0-7 0-7");
  EXPECT_EQ(rows("S0,P(sum)"), "0-4 0-4 0-4 4-7 4-7 4-7");
  EXPECT_EQ(rows("S1,S0"), "0-3 3-5 5-7 0-3 3-5 5-7");
  EXPECT_EQ(rows("S0,S0"), "0-2 2-3 3-4 4-5 5-6 6-7");
  EXPECT_EQ(local_shape({7, 5}, mesh, layout("S1,S1"), 5), (Shape{7, 0}));
}

TEST(TensorLayoutTest, ImpossibleOnesAreRefused) {
  const DeviceMesh mesh = {{{"dp", 2}, {"tp", 3}}};
  EXPECT_NO_THROW(check_tensor_layout({4}, mesh, layout("P(max),P(max)")));
  EXPECT_ERROR(check_tensor_layout({4}, mesh, layout("R")), std::logic_error,
               "layout R - axes: got 1, want 2 as in the mesh");
  EXPECT_ERROR(check_tensor_layout({4}, mesh, layout("S1,R")), std::logic_error,
               "layout S1,R - dim: got 1, want one of 1");
  EXPECT_ERROR(check_tensor_layout({4}, mesh, layout("P(sum),P(max)")), std::logic_error,
               "layout P(sum),P(max) - partial: got two reductions, want one");
}

}  // namespace
}  // namespace shoal::plan
