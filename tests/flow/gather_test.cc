#include "flow/gather.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "flow/keeping_pool.h"
#include "flow/key_order.h"
#include "flow/tables.h"

namespace shoal::flow {
namespace {

/// Every kind of column, with and without nulls.
Batch odd_batch(std::mt19937& random, int64_t rows) {
  arrow::Int64Builder whole;
  arrow::UInt8Builder small;
  arrow::BooleanBuilder truth;
  arrow::StringBuilder text;
  arrow::LargeStringBuilder large;
  arrow::Decimal128Builder decimal(arrow::decimal128(10, 2));
  arrow::ListBuilder list(arrow::default_memory_pool(), std::make_shared<arrow::Int32Builder>());
  for (int64_t row = 0; row < rows; ++row) {
    const std::string word(random() % 5, static_cast<char>('a' + random() % 3));
    EXPECT_TRUE(whole.Append(static_cast<int64_t>(random())).ok());
    EXPECT_TRUE((random() % 4 ? small.Append(static_cast<uint8_t>(random())) : small.AppendNull()).ok());
    EXPECT_TRUE((random() % 4 ? truth.Append(random() % 2 == 1) : truth.AppendNull()).ok());
    EXPECT_TRUE((random() % 4 ? text.Append(word) : text.AppendNull()).ok());
    EXPECT_TRUE(large.Append(word).ok());
    EXPECT_TRUE(decimal.Append(arrow::Decimal128(static_cast<int64_t>(random() % 1000))).ok());
    EXPECT_TRUE(list.Append().ok());
    EXPECT_TRUE(static_cast<arrow::Int32Builder*>(list.value_builder())->Append(7).ok());
  }
  arrow::ArrayVector columns;
  arrow::FieldVector fields;
  for (arrow::ArrayBuilder* builder :
       std::initializer_list<arrow::ArrayBuilder*>{&whole, &small, &truth, &text, &large, &decimal, &list}) {
    columns.push_back(builder->Finish().ValueOrDie());
    fields.push_back(arrow::field("c" + std::to_string(fields.size()), columns.back()->type()));
  }
  return arrow::RecordBatch::Make(arrow::schema(fields), rows, columns);
}

TEST(Gather, IsToConcatenateAndToTake) {
  std::mt19937 random(3);
  std::vector<Batch> batches;
  std::vector<RowPlace> places;
  std::vector<int64_t> numbers;
  for (int32_t b = 0; b < 5; ++b) {
    const Batch batch = odd_batch(random, 40);
    batches.push_back(batch->Slice(b, 40 - 3 * b));  // buffers that begin before their rows do
    for (int32_t row = 0; row < 40 - 3 * b; ++row) places.push_back({b, row});
  }
  numbers.resize(places.size());
  std::iota(numbers.begin(), numbers.end(), 0);
  std::shuffle(numbers.begin(), numbers.end(), random);
  numbers.resize(150);
  std::vector<RowPlace> order;
  for (const int64_t number : numbers) order.push_back(places[static_cast<size_t>(number)]);
  const SchemaPtr schema = batches[0]->schema();
  const Batch got = gather(schema, batches, order, "test");
  EXPECT_TRUE(got->ValidateFull().ok());
  EXPECT_TRUE(got->Equals(*take(concatenate(schema, batches, "test"), numbers, "test")));
  EXPECT_EQ(gather(schema, batches, {}, "test")->num_rows(), 0);
}

/// Keys as columns give them, and worse: all alike at first, the same many times, each the beginning of the
/// next.
TEST(KeyOrder, IsThatOfComparing) {
  std::mt19937 random(5);
  for (const int alphabet : {1, 2, 26}) {
    for (const size_t longest : {1, 3, 40, 700}) {
      std::vector<std::string> keys(2000);
      for (std::string& key : keys) {
        key = "in front";
        for (size_t i = random() % (longest + 1); i > 0; --i)
          key.push_back(random() % 9 ? static_cast<char>('a' + random() % static_cast<unsigned>(alphabet))
                                     : '\0');
      }
      std::vector<int64_t> expected(keys.size());
      std::iota(expected.begin(), expected.end(), 0);
      std::stable_sort(expected.begin(), expected.end(), [&](int64_t a, int64_t b) {
        return keys[static_cast<size_t>(a)] < keys[static_cast<size_t>(b)];
      });
      EXPECT_EQ(sorted_rows({keys.begin(), keys.end()}), expected) << alphabet << " " << longest;
    }
  }
  EXPECT_TRUE(sorted_rows({}).empty());
}

TEST(Memory, KeepsWhatIsGivenBack) {
  KeepingPool pool;
  uint8_t *first = nullptr, *second = nullptr;
  ASSERT_TRUE(pool.Allocate(100'000, &first).ok());
  EXPECT_EQ(pool.bytes_allocated(), 100'000);
  std::fill_n(first, 100'000, uint8_t{7});
  ASSERT_TRUE(pool.Reallocate(100'000, 300'000, &first).ok());
  EXPECT_TRUE(std::all_of(first, first + 100'000, [](uint8_t b) { return b == 7; }));
  pool.Free(first, 300'000);
  EXPECT_EQ(pool.bytes_allocated(), 0);
  const int64_t kept = pool.bytes_kept();
  EXPECT_GE(kept, 400'000);
  ASSERT_TRUE(pool.Allocate(290'000, &second).ok());
  EXPECT_EQ(second, first);  // the same block again
  EXPECT_LT(pool.bytes_kept(), kept);
  pool.Free(second, 290'000);
  EXPECT_EQ(pool.max_memory(), 400'000);
  pool.ReleaseUnused();
  EXPECT_EQ(pool.bytes_kept(), 0);
  pool.keep(0);
  ASSERT_TRUE(pool.Allocate(100'000, &first).ok());
  pool.Free(first, 100'000);
  EXPECT_EQ(pool.bytes_kept(), 0);
}

TEST(Memory, BlocksOfEverySize) {
  KeepingPool pool;
  for (int64_t size = 1; size < 5'000'000; size += size / 7 + 1) {
    uint8_t* block = nullptr;
    ASSERT_TRUE(pool.Allocate(size, &block).ok());
    block[0] = block[size - 1] = 1;  // all of it is there, as the address sanitizer sees
    pool.Free(block, size);
  }
  pool.ReleaseUnused();
  EXPECT_EQ(pool.bytes_kept(), 0);
}

}  // namespace
}  // namespace shoal::flow
