#include "lower/storage.h"

#include <gtest/gtest.h>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::lower {
namespace {

const char* const kGraph =
    "%0 = parameter \"a\" : f32[70000]\n"
    "%1 = parameter \"frozen\" : f32[9]\n"
    "%2 = parameter \"b\" : bf16[3]\n"
    "%3 = parameter \"c\" : f32[400000]\n"
    "gradient \"a\" %0\n"
    "gradient \"b\" %2 %2\n"
    "gradient \"c\" %3\n";

TEST(Storage, NumbersWhatIsTrained) {
  const Storage storage = plan_storage(graph::parse(kGraph));
  ASSERT_EQ(storage.units.size(), 3u);
  EXPECT_EQ(storage.num_blocks, 2 + 1 + 7);
  EXPECT_EQ(storage.units[2].first_block, 3);
  EXPECT_EQ(storage.units[1].contributions.size(), 2u);
  EXPECT_EQ(storage.find("c", graph::kWhole), 2u);
  EXPECT_EQ(storage.find("frozen", graph::kWhole), std::nullopt);
}

// The parts of a parameter are units of their own, next to each other wherever the graph has them.
TEST(Storage, PartsAreUnits) {
  const graph::Graph graph = graph::parse(
      "%0 = parameter \"a\" : f32[2,70000] part=0\n"
      "%1 = parameter \"b\" : f32[5]\n"
      "%2 = parameter \"a\" : f32[2,70000] part=1\n"
      "gradient \"b\" %1\n"
      "gradient \"a\" %2 part=1\n"
      "gradient \"a\" %0 %0 part=0\n"
      "parts 2\n"
      "cut \"a\" dim=1 outer=1\n");
  const Storage storage = plan_storage(graph);
  ASSERT_EQ(storage.units.size(), 3u);
  EXPECT_EQ(storage.units[0].parameter, "a");
  EXPECT_EQ(storage.units[1].part, 1);
  EXPECT_EQ(storage.units[1].first_block, 3);
  EXPECT_EQ(storage.units[2].first_block, 6);
  EXPECT_EQ(storage.units_of("a"), (std::vector<size_t>{0, 1}));
  EXPECT_EQ(storage.global_shape(storage.units[1]), (std::vector<int64_t>{2, 140000}));
  std::vector<std::pair<size_t, size_t>> targets;
  for (const auto& [unit, index] : contributions_of(graph, storage)) targets.emplace_back(unit, index);
  EXPECT_EQ(targets, (std::vector<std::pair<size_t, size_t>>{{2, 0}, {1, 0}, {0, 0}, {0, 1}}));
}

TEST(Storage, OtherDtypesAreRefused) {
  EXPECT_ERROR(
      plan_storage(graph::parse("%0 = parameter \"w\" : f64[2]\ngradient \"w\" %0\n")), InputError,
      "parameter w - dtype: got f64, want f32; other dtypes cannot be trained yet, freeze it or convert it");
}

}  // namespace
}  // namespace shoal::lower
