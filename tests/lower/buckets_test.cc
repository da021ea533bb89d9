#include "lower/buckets.h"

#include <gtest/gtest.h>

namespace shoal::lower {
namespace {

// "big" is delivered first (it is an input), then "tied" twice, in bf16, by the nodes; "a" comes between.
const char* const kGraph =
    "%0 = parameter \"a\" : f32[700]\n"
    "%1 = parameter \"tied\" : bf16[140000]\n"
    "%2 = parameter \"big\" : f32[300000]\n"
    "%3 = aten::neg(%1) : bf16[140000] @backward\n"
    "%4 = aten::neg(%0) : f32[700] @backward\n"
    "%5 = aten::neg(%3) : bf16[140000] @backward\n"
    "gradient \"a\" %4\n"
    "gradient \"tied\" %5 %3\n"
    "gradient \"big\" %2\n";

TEST(Buckets, CarryEveryElementOnceInTheOrderOfDelivery) {
  const graph::Graph graph = graph::parse(kGraph);
  const Storage storage = plan_storage(graph);
  const int64_t capacity = bucket_bytes(storage);
  EXPECT_EQ(capacity, kBlockElements * 4);
  std::vector<size_t> order;
  std::vector<int64_t> reached(4, 0);
  for (const Bucket& bucket : plan_buckets(graph, storage)) {
    ASSERT_FALSE(bucket.empty());
    int64_t used = 0;
    for (const BucketItem& item : bucket) {
      if (order.empty() || order.back() != item.contribution) order.push_back(item.contribution);
      const Unit& unit = storage.units[item.target.unit];
      EXPECT_EQ(item.offset, used);
      EXPECT_EQ(item.offset % kAlignment, 0);
      EXPECT_EQ(item.elements.begin, reached[item.contribution]) << "in order, without holes";
      EXPECT_TRUE(item.elements.end % kBlockElements == 0 || item.elements.end == unit.numel);
      reached[item.contribution] = item.elements.end;
      used += align_up(item.elements.size() *
                       static_cast<int64_t>(comm::element_bytes(unit.contributions[item.target.index])));
    }
    EXPECT_LE(used, capacity);
  }
  EXPECT_EQ(order, (std::vector<size_t>{3, 2, 0, 1})) << "big, the tied weight's second, a, its first";
  EXPECT_EQ(reached, (std::vector<int64_t>{700, 140000, 140000, 300000}));
}

TEST(Buckets, AreSmallBesideTheGradient) {
  Storage storage;
  storage.units.push_back({.parameter = "w", .shape = {30'000'000}, .numel = 30'000'000});
  EXPECT_LE(kBuckets * bucket_bytes(storage), 30'000'000 * 4 / 64);
  storage.units[0].numel = int64_t{1} << 40;
  EXPECT_EQ(bucket_bytes(storage), 16 * kBlockElements * 4);
}

}  // namespace
}  // namespace shoal::lower
