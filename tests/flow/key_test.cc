#include "flow/key.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "flow/accumulator.h"
#include "flow/group_table.h"

namespace shoal::flow {
namespace {

struct Row {
  std::optional<double> x;
  std::optional<std::string> s;
};

int compare_reals(double a, double b) {
  if (std::isnan(a) || std::isnan(b))
    return static_cast<int>(std::isnan(a)) - static_cast<int>(std::isnan(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

template <class T, class Compare>
int compare(const std::optional<T>& a, const std::optional<T>& b, bool descending, const Compare& order) {
  if (!a || !b) return static_cast<int>(!a) - static_cast<int>(!b);  // null last, whatever the direction
  const int result = order(*a, *b);
  return descending ? -result : result;
}

TEST(Keys, CompareAsTheRowsDo) {
  std::mt19937 random(7);
  const double reals[] = {0.0,
                          -0.0,
                          1,
                          -1,
                          1e300,
                          -1e-300,
                          std::numeric_limits<double>::infinity(),
                          -std::numeric_limits<double>::infinity(),
                          std::nan("")};
  const std::string texts[] = {"",     "a", "ab",      std::string("a\0b", 3), std::string("a\0", 2),
                               "\xff", "b", "\xc3\xa9"};
  std::vector<Row> rows(200);
  arrow::DoubleBuilder x;
  arrow::StringBuilder s;
  for (Row& row : rows) {
    if (random() % 5) row.x = reals[random() % std::size(reals)];
    if (random() % 5) row.s = texts[random() % std::size(texts)];
    ASSERT_TRUE((row.x ? x.Append(*row.x) : x.AppendNull()).ok());
    ASSERT_TRUE((row.s ? s.Append(*row.s) : s.AppendNull()).ok());
  }
  const SchemaPtr schema =
      arrow::schema({arrow::field("x", arrow::float64()), arrow::field("s", arrow::utf8())});
  const Batch batch =
      arrow::RecordBatch::Make(schema, 200, {x.Finish().ValueOrDie(), s.Finish().ValueOrDie()});
  for (const bool x_down : {false, true}) {
    for (const bool s_down : {false, true}) {
      const Keys keys = KeyEncoder(schema, {{"s", s_down}, {"x", x_down}}, "test").encode(*batch);
      for (int64_t i = 0; i < 200; ++i)
        for (int64_t j = 0; j < 200; ++j) {
          const Row &a = rows[static_cast<size_t>(i)], &b = rows[static_cast<size_t>(j)];
          int expected = compare(a.s, b.s, s_down,
                                 [](const std::string& p, const std::string& q) { return p.compare(q); });
          if (expected == 0) expected = compare(a.x, b.x, x_down, compare_reals);
          const int got = keys[i].compare(keys[j]);
          ASSERT_EQ((got > 0) - (got < 0), (expected > 0) - (expected < 0)) << i << " " << j;
        }
      const KeyEncoder encoder(schema, {{"s", s_down}, {"x", x_down}}, "test");
      for (int64_t i = 0; i < 200; ++i) EXPECT_EQ(encoder.prefix_length(keys[i], 2), keys[i].size());
    }
  }
}

TEST(Keys, GiveTheirValuesBack) {
  arrow::Date32Builder date;
  arrow::UInt8Builder small;
  arrow::StringBuilder text;
  ASSERT_TRUE(date.Append(-5).ok() && date.Append(20000).ok() && date.AppendNull().ok());
  ASSERT_TRUE(small.AppendValues(std::vector<uint8_t>{255, 0, 7}).ok());
  ASSERT_TRUE(text.Append(std::string("a\0\0b", 4)).ok() && text.AppendNull().ok() && text.Append("").ok());
  const SchemaPtr schema =
      arrow::schema({arrow::field("d", arrow::date32()), arrow::field("u", arrow::uint8()),
                     arrow::field("t", arrow::utf8())});
  const Batch batch = arrow::RecordBatch::Make(
      schema, 3, {date.Finish().ValueOrDie(), small.Finish().ValueOrDie(), text.Finish().ValueOrDie()});
  const KeyEncoder encoder(schema, {{"d"}, {"u"}, {"t"}}, "test");
  const Keys keys = encoder.encode(*batch);
  const std::vector<ArrayPtr> back = encoder.decode({keys[0], keys[1], keys[2]});
  for (int c = 0; c < 3; ++c)
    EXPECT_TRUE(back[static_cast<size_t>(c)]->Equals(batch->column(c)))
        << back[static_cast<size_t>(c)]->ToString();
}

TEST(Keys, GroupsAreNumberedAsTheyAreSeen) {
  GroupTable table;
  for (int64_t i = 0; i < 5000; ++i) EXPECT_EQ(table.find_or_add(std::to_string(i * 7919 % 5000)), i);
  for (int64_t i = 0; i < 5000; ++i) EXPECT_EQ(table.find(std::to_string(i * 7919 % 5000)), i);
  EXPECT_EQ(table.find("no"), -1);
}

TEST(TreeSum, SplitsAtPowersOfTwo) {
  const double x[] = {1e16, 1, 1, 1, 1};
  EXPECT_EQ(tree_sum(x, 5), ((1e16 + 1) + (1.0 + 1)) + 1);
  EXPECT_EQ(tree_sum(x, 3), (1e16 + 1) + 1);
  EXPECT_EQ(tree_sum(x + 1, 1), 1);
}

}  // namespace
}  // namespace shoal::flow
