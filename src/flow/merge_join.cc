#include "flow/merge_join.h"

#include <arrow/compute/api.h>

#include <bit>
#include <cstring>
#include <limits>

#include "base/text.h"
#include "flow/gather.h"
#include "flow/keeping_pool.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

// No user's columns: names do not begin with a space there.
constexpr const char *kLeftPlace = " left place", *kRightPlace = " right place";
constexpr size_t kPairs = 16'384;  // at a time

std::string_view without_place(std::string_view key) { return key.substr(0, key.size() - kPlaceBytes); }

int64_t place_of(std::string_view key) {
  uint64_t bits;
  std::memcpy(&bits, key.data() + key.size() - kPlaceBytes, sizeof bits);
  return static_cast<int64_t>(std::endian::native == std::endian::little ? __builtin_bswap64(bits) : bits);
}

class JoinSide final : public Exchange {
 public:
  JoinSide(const JoinShape& shape, bool is_left, SchemaPtr schema, std::string place)
      : shape_(shape), is_left_(is_left), schema_(std::move(schema)), place_(std::move(place)) {}
  const SchemaPtr& out_schema() const override { return schema_; }
  const SchemaPtr& run_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override { return shape_.needs_of_left(wanted); }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return collect_rows(is_left_ ? shape_.left : shape_.right, schema_, part, place_);
  }
  Batch reduce(const SortedRows& sorted, bool) const override { return sorted.rows; }
  size_t whole_prefix(std::string_view key) const override {
    return is_left_ ? key.size() : key.size() - kPlaceBytes;
  }

 private:
  JoinShape shape_;
  bool is_left_;
  SchemaPtr schema_;
  std::string place_;
};

class BackToOrder final : public Exchange {
 public:
  BackToOrder(SchemaPtr with_places, SchemaPtr schema, std::string place)
      : run_schema_(std::move(with_places)),
        schema_(std::move(schema)),
        encoder_(run_schema_, {{kLeftPlace}, {kRightPlace}}, place),
        place_(std::move(place)) {}
  const SchemaPtr& out_schema() const override { return schema_; }
  const SchemaPtr& run_schema() const override { return run_schema_; }
  Names needs(const Names& wanted) const override { return wanted; }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return collect_rows(encoder_, run_schema_, part, place_);
  }
  Batch reduce(const SortedRows& sorted, bool) const override {
    arrow::ArrayVector columns = sorted.rows->columns();
    columns.resize(columns.size() - 2);
    return arrow::RecordBatch::Make(schema_, sorted.rows->num_rows(), columns);
  }
  size_t whole_prefix(std::string_view key) const override { return key.size(); }

 private:
  SchemaPtr run_schema_, schema_;
  KeyEncoder encoder_;
  std::string place_;
};

SchemaPtr with_places(const SchemaPtr& schema) {
  arrow::FieldVector fields = schema->fields();
  fields.push_back(arrow::field(kLeftPlace, arrow::int64()));
  fields.push_back(arrow::field(kRightPlace, arrow::int64()));
  return arrow::schema(fields);
}

bool has_null(const KeyEncoder& encoder, std::string_view key) {
  for (int c = 0; c < encoder.num_columns(); ++c)
    if (key[encoder.prefix_length(key, c)] == kNullKey[0]) return true;
  return false;
}

ArrayPtr numbers(const std::vector<int64_t>& values, const std::string& place) {
  arrow::Int64Builder builder(&memory());
  require(builder.AppendValues(values), place);
  return value(builder.Finish(), place);
}

}  // namespace

std::unique_ptr<Exchange> join_side(const JoinShape& shape, bool is_left, const SchemaPtr& schema,
                                    const std::string& place) {
  return std::make_unique<JoinSide>(shape, is_left, schema, place);
}

std::unique_ptr<Exchange> back_to_order(const JoinShape& shape, const std::string& place) {
  return std::make_unique<BackToOrder>(with_places(shape.schema), shape.schema, place);
}

/// Row numbers of both sides; kNoRow where a side has no row.
struct MergeJoin::Pairs {
  std::vector<int64_t> left, right;
};

MergeJoin::MergeJoin(JoinShape shape, int64_t memory_bytes, const std::string& place)
    : shape_(std::move(shape)),
      memory_bytes_(memory_bytes),
      place_(place),
      schema_(with_places(shape_.schema)) {}

bool MergeJoin::is_cut(const std::string& end) const {
  return !end.empty() && shape_.left.prefix_length(end, shape_.left.num_columns()) < end.size();
}

KeyRange MergeJoin::right_range(const KeyRange& range) const {
  KeyRange right = range;
  if (is_cut(range.begin)) right.begin = without_place(range.begin);
  // behind every place: a place's first byte is no 255
  if (range.has_end && is_cut(range.end)) right.end = cat(std::string(without_place(range.end)), "\xff");
  return right;
}

void MergeJoin::meet(const SortedRows& left, const SortedRows& right, const KeyRange& range,
                     const std::function<void(const Batch&)>& give) const {
  if (num_bytes(*right.rows) > memory_bytes_)
    throw InputError(cat(place_, ": rows of the right side that one key has take more than ",
                         human_bytes(static_cast<uint64_t>(memory_bytes_)),
                         ", an eighth of memory: put this table on the left, or set memory higher"));
  Pairs pairs;
  const auto pair = [&](int64_t l, int64_t r) {
    pairs.left.push_back(l);
    pairs.right.push_back(r);
    if (pairs.left.size() < kPairs) return;
    give(rows_of(pairs, left, right));
    pairs = {};
  };
  const size_t num_left = left.keys.size(), num_right = right.keys.size();
  const std::string cut_begin(is_cut(range.begin) ? without_place(range.begin) : std::string_view());
  const std::string cut_end(is_cut(range.end) ? without_place(range.end) : std::string_view());
  for (size_t l = 0, r = 0; l < num_left || r < num_right;) {
    const std::string_view left_key = l < num_left ? without_place(left.keys[l]) : std::string_view();
    const std::string_view right_key = r < num_right ? without_place(right.keys[r]) : std::string_view();
    const bool has_left = l < num_left && (r >= num_right || left_key <= right_key);
    const bool has_right = r < num_right && (l >= num_left || right_key <= left_key);
    const std::string_view key = has_left ? left_key : right_key;
    size_t left_end = l, right_end = r;
    while (has_left && left_end < num_left && without_place(left.keys[left_end]) == key) ++left_end;
    while (has_right && right_end < num_right && without_place(right.keys[right_end]) == key) ++right_end;
    const bool is_null = has_null(shape_.left, key);  // equals nothing
    const bool meets = has_left && has_right && !is_null;
    for (size_t i = l; i < left_end; ++i) {
      if (meets)
        for (size_t j = r; j < right_end; ++j) pair(static_cast<int64_t>(i), static_cast<int64_t>(j));
      else if (shape_.keeps_left)
        pair(static_cast<int64_t>(i), kNoRow);
    }
    // A key that is cut has rows on the left; of null keys the partition where they begin gives the right's.
    const bool is_alone = is_null ? key != cut_begin : !has_left && key != cut_end;
    if (shape_.keeps_right && is_alone)
      for (size_t j = r; j < right_end; ++j) pair(kNoRow, static_cast<int64_t>(j));
    l = left_end;
    r = right_end;
  }
  if (!pairs.left.empty()) give(rows_of(pairs, left, right));
}

Batch MergeJoin::rows_of(const Pairs& pairs, const SortedRows& left, const SortedRows& right) const {
  std::vector<int64_t> left_places, right_places;
  bool has_right_alone = false;
  for (size_t i = 0; i < pairs.left.size(); ++i) {
    const int64_t l = pairs.left[i], r = pairs.right[i];
    left_places.push_back(l == kNoRow ? std::numeric_limits<int64_t>::max()
                                     : place_of(left.keys[static_cast<size_t>(l)]));
    right_places.push_back(r == kNoRow ? kNoRow : place_of(right.keys[static_cast<size_t>(r)]));
    has_right_alone = has_right_alone || l == kNoRow;
  }
  arrow::ArrayVector columns;
  for (int c = 0; c < shape_.num_left; ++c)
    columns.push_back(take_or_null(left.rows->column(c), pairs.left, place_));
  if (has_right_alone) {  // the columns joined on have the right's values there
    std::vector<RowPlace> places;
    for (size_t i = 0; i < pairs.left.size(); ++i)
      places.push_back({pairs.left[i] == kNoRow,
                        static_cast<int32_t>(pairs.left[i] == kNoRow ? pairs.right[i] : pairs.left[i])});
    for (size_t k = 0; k < shape_.left.columns().size(); ++k) {
      const int c = shape_.left.columns()[k];
      const auto schema = arrow::schema({left.rows->schema()->field(c)});
      const ArrayPtr theirs = value(
          arrow::compute::Cast(*right.rows->column(shape_.right.columns()[k]), schema->field(0)->type()),
          place_);
      columns[static_cast<size_t>(c)] =
          gather(schema,
                 {arrow::RecordBatch::Make(schema, left.rows->num_rows(), {left.rows->column(c)}),
                  arrow::RecordBatch::Make(schema, right.rows->num_rows(), {theirs})},
                 places, place_)
              ->column(0);
    }
  }
  for (const int c : shape_.right_columns)
    columns.push_back(take_or_null(right.rows->column(c), pairs.right, place_));
  columns.push_back(numbers(left_places, place_));
  columns.push_back(numbers(right_places, place_));
  return arrow::RecordBatch::Make(schema_, static_cast<int64_t>(pairs.left.size()), columns);
}

}  // namespace shoal::flow
