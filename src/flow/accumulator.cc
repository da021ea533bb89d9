#include "flow/accumulator.h"

#include <arrow/compute/api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/text.h"
#include "flow/group_table.h"
#include "flow/keeping_pool.h"
#include "flow/key.h"
#include "flow/quantile.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

using Groups = std::vector<int64_t>;
using Order = std::vector<int64_t>;
using Partials = std::vector<const arrow::Array*>;

template <class Builder, class Append>
ArrayPtr build(const Order& order, const Append& append) {
  Builder builder(&memory());
  require(builder.Reserve(static_cast<int64_t>(order.size())), "group_by");
  for (const int64_t group : order) append(builder, group);
  return value(builder.Finish(), "group_by");
}

class Count final : public Accumulator {
 public:
  explicit Count(GroupStates& states) : states_(states) {}
  void add(const arrow::Array* column, const Groups& groups) override {
    const auto counts = states_.column(place_);
    const bool has_nulls = column && column->null_count() > 0;
    for (size_t row = 0; row < groups.size(); ++row)
      if (!has_nulls || column->IsValid(static_cast<int64_t>(row))) ++counts[groups[row]];
  }
  void merge(const Partials& partial, int64_t begin, int64_t end, int64_t group) override {
    const auto counts = states_.column(place_);
    for (int64_t row = begin; row < end; ++row)
      counts[group] += static_cast<const arrow::Int64Array&>(*partial[0]).Value(row);
  }
  std::vector<ArrayPtr> partial(const Order& order) const override { return {final(order)}; }
  ArrayPtr final(const Order& order) const override {
    const auto counts = states_.column(place_);
    return build<arrow::Int64Builder>(order, [&](auto& out, int64_t g) { out.UnsafeAppend(counts[g]); });
  }

 private:
  GroupStates& states_;
  GroupStates::Place<int64_t> place_ = states_.add_column<int64_t>();
};

/// sum and mean. Whole numbers exactly, an overflow stops the run; fractions in the order of rows within a
/// run, by the tree over runs.
class Sum final : public Accumulator {
 public:
  Sum(bool real, bool mean, std::string place, GroupStates& states)
      : real_(real), mean_(mean), place_(std::move(place)), states_(states) {}
  void add(const arrow::Array* column, const Groups& groups) override {
    const auto type = real_ ? arrow::float64() : arrow::int64();
    ArrayPtr cast;
    if (column->type_id() != type->id()) {
      cast = value(arrow::compute::Cast(*column, type), place_);
      column = cast.get();
    }
    if (real_)
      add_all(*column, groups,
              [x = static_cast<const arrow::DoubleArray*>(column)->raw_values()](Total& total, size_t row) {
                total.real += x[row];
              });
    else
      add_all(*column, groups,
              [this, x = static_cast<const arrow::Int64Array*>(column)->raw_values()](
                  Total& total, size_t row) { add_whole(total, x[row]); });
  }
  void merge(const Partials& partial, int64_t begin, int64_t end, int64_t group) override {
    const auto& counts = static_cast<const arrow::Int64Array&>(*partial[1]);
    Total& total = states_.column(column_)[group];
    terms_.clear();
    for (int64_t row = begin; row < end; ++row) {
      if (counts.Value(row) == 0) continue;
      total.count += counts.Value(row);
      if (real_)
        terms_.push_back(static_cast<const arrow::DoubleArray&>(*partial[0]).Value(row));
      else
        add_whole(total, static_cast<const arrow::Int64Array&>(*partial[0]).Value(row));
    }
    if (!terms_.empty()) total.real = tree_sum(terms_.data(), static_cast<int64_t>(terms_.size()));
  }
  std::vector<ArrayPtr> partial(const Order& order) const override {
    const auto all = states_.column(column_);
    return {totals(order, false), build<arrow::Int64Builder>(order, [&](auto& out, int64_t g) {
              out.UnsafeAppend(all[g].count);
            })};
  }
  ArrayPtr final(const Order& order) const override {
    if (!mean_) return totals(order, true);
    const auto all = states_.column(column_);
    return build<arrow::DoubleBuilder>(order, [&](auto& out, int64_t g) {
      const Total& total = all[g];
      const double sum = real_ ? total.real : static_cast<double>(total.whole);
      total.count == 0 ? out.UnsafeAppendNull() : out.UnsafeAppend(sum / static_cast<double>(total.count));
    });
  }

 private:
  struct Total {
    union {
      int64_t whole;  // zero bits: +0.0 as a fraction too
      double real;
    };
    int64_t count;
  };

  template <class Add>
  void add_all(const arrow::Array& column, const Groups& groups, const Add& add_one) {
    const auto totals = states_.column(column_);
    const bool has_nulls = column.null_count() > 0;
    const size_t rows = groups.size();
    for (size_t row = 0; row < rows; ++row) {
      if (has_nulls && column.IsNull(static_cast<int64_t>(row))) continue;
      Total& total = totals[groups[row]];
      ++total.count;
      add_one(total, row);
    }
  }
  void add_whole(Total& total, int64_t x) {
    if (__builtin_add_overflow(total.whole, x, &total.whole))
      throw JobError(
          cat(place_, ": a sum of whole numbers does not fit into 64 bits; make the column a float first"));
  }
  ArrayPtr totals(const Order& order, bool null_if_none) const {
    const auto all = states_.column(column_);
    const auto append = [&](auto& out, int64_t g, auto total) {
      null_if_none&& all[g].count == 0 ? out.UnsafeAppendNull() : out.UnsafeAppend(total);
    };
    if (real_)
      return build<arrow::DoubleBuilder>(order, [&](auto& out, int64_t g) { append(out, g, all[g].real); });
    return build<arrow::Int64Builder>(order, [&](auto& out, int64_t g) { append(out, g, all[g].whole); });
  }

  bool real_, mean_;
  std::string place_;
  GroupStates& states_;
  GroupStates::Place<Total> column_ = states_.add_column<Total>();
  std::vector<double> terms_;
};

/// min and max, by the order of keys.
class Extreme final : public Accumulator {
 public:
  Extreme(const std::shared_ptr<arrow::DataType>& type, bool largest, const std::string& place)
      : schema_(arrow::schema({arrow::field("x", type)})),
        encoder_(schema_, {{"x"}}, place),
        largest_(largest) {}
  void resize(int64_t groups) override { best_.resize(static_cast<size_t>(groups)); }
  void clear() override {
    best_.clear();
    extra_ = 0;
  }
  void add(const arrow::Array* column, const Groups& groups) override {
    const Keys keys = encode(*column);
    for (size_t row = 0; row < groups.size(); ++row)
      if (column->IsValid(static_cast<int64_t>(row))) see(groups[row], keys[static_cast<int64_t>(row)]);
  }
  void merge(const Partials& partial, int64_t begin, int64_t end, int64_t group) override {
    const Keys keys = encode(*partial[0]->Slice(begin, end - begin));
    for (int64_t row = begin; row < end; ++row)
      if (partial[0]->IsValid(row)) see(group, keys[row - begin]);
  }
  std::vector<ArrayPtr> partial(const Order& order) const override { return {final(order)}; }
  ArrayPtr final(const Order& order) const override {
    std::vector<std::string_view> keys;
    for (const int64_t group : order) {
      const std::string& best = best_[static_cast<size_t>(group)];
      keys.push_back(best.empty() ? kNullKey : std::string_view(best));
    }
    return encoder_.decode(keys)[0];
  }
  int64_t extra_bytes() const override { return extra_; }

 private:
  Keys encode(const arrow::Array& column) const {
    return encoder_.encode(
        *arrow::RecordBatch::Make(schema_, column.length(), {arrow::MakeArray(column.data())}));
  }
  void see(int64_t group, std::string_view key) {
    std::string& best = best_[static_cast<size_t>(group)];
    if (!best.empty() && (largest_ ? key <= best : key >= best)) return;
    extra_ += static_cast<int64_t>(key.size()) - static_cast<int64_t>(best.size());
    best.assign(key);
  }

  SchemaPtr schema_;
  KeyEncoder encoder_;
  bool largest_;
  std::vector<std::string> best_;
  int64_t extra_ = 0;
};

/// The same of int64 and float64, without a text for each row.
template <class ArrayType>
class NumberExtreme final : public Accumulator {
 public:
  NumberExtreme(bool largest, GroupStates& states) : largest_(largest), states_(states) {}
  void add(const arrow::Array* column, const Groups& groups) override {
    const auto& array = static_cast<const ArrayType&>(*column);
    const auto best = states_.column(column_);
    const bool has_nulls = array.null_count() > 0;
    for (size_t row = 0; row < groups.size(); ++row)
      if (!has_nulls || array.IsValid(static_cast<int64_t>(row)))
        see(best[groups[row]], order_bits(array.Value(static_cast<int64_t>(row))));
  }
  void merge(const Partials& partial, int64_t begin, int64_t end, int64_t group) override {
    const auto& array = static_cast<const ArrayType&>(*partial[0]);
    Best& best = states_.column(column_)[group];
    for (int64_t row = begin; row < end; ++row)
      if (array.IsValid(row)) see(best, order_bits(array.Value(row)));
  }
  std::vector<ArrayPtr> partial(const Order& order) const override { return {final(order)}; }
  ArrayPtr final(const Order& order) const override {
    const auto all = states_.column(column_);
    return build<typename arrow::TypeTraits<typename ArrayType::TypeClass>::BuilderType>(order, [&](auto& out, int64_t g) {
      if (!all[g].any)
        out.UnsafeAppendNull();
      else if constexpr (std::is_same_v<ArrayType, arrow::DoubleArray>)
        out.UnsafeAppend(real_of_bits(all[g].bits));
      else
        out.UnsafeAppend(whole_of_bits(all[g].bits));
    });
  }

 private:
  struct Best {
    uint64_t bits;
    bool any;
  };
  void see(Best& best, uint64_t bits) const {
    if (best.any && (largest_ ? bits <= best.bits : bits >= best.bits)) return;
    best = {bits, true};
  }
  bool largest_;
  GroupStates& states_;
  GroupStates::Place<Best> column_ = states_.add_column<Best>();
};

/// count_distinct: the values of each group as a set of keys; on the way as their keys one after the other,
/// each behind its length.
class CountDistinct final : public Accumulator {
 public:
  CountDistinct(const std::shared_ptr<arrow::DataType>& type, const std::string& place)
      : schema_(arrow::schema({arrow::field("x", type)})), encoder_(schema_, {{"x"}}, place) {}
  void resize(int64_t groups) override { sets_.resize(static_cast<size_t>(groups)); }
  void clear() override {
    sets_.clear();
    extra_ = 0;
  }
  void add(const arrow::Array* column, const Groups& groups) override {
    const Keys keys = encoder_.encode(
        *arrow::RecordBatch::Make(schema_, column->length(), {arrow::MakeArray(column->data())}));
    for (size_t row = 0; row < groups.size(); ++row)
      if (column->IsValid(static_cast<int64_t>(row))) see(groups[row], keys[static_cast<int64_t>(row)]);
  }
  void merge(const Partials& partial, int64_t begin, int64_t end, int64_t group) override {
    for (int64_t row = begin; row < end; ++row) {
      std::string_view packed = static_cast<const arrow::BinaryArray&>(*partial[0]).GetView(row);
      while (!packed.empty()) {
        uint32_t size;
        std::memcpy(&size, packed.data(), sizeof size);
        see(group, packed.substr(sizeof size, size));
        packed.remove_prefix(sizeof size + size);
      }
    }
  }
  std::vector<ArrayPtr> partial(const Order& order) const override {
    arrow::BinaryBuilder out;
    for (const int64_t group : order) {
      const GroupTable& set = sets_[static_cast<size_t>(group)];
      std::string packed;
      for (int64_t i = 0; i < set.size(); ++i) {
        const uint32_t size = static_cast<uint32_t>(set.key(i).size());
        packed.append(reinterpret_cast<const char*>(&size), sizeof size);
        packed.append(set.key(i));
      }
      require(out.Append(packed), "count_distinct");
    }
    return {value(out.Finish(), "count_distinct")};
  }
  ArrayPtr final(const Order& order) const override {
    return build<arrow::Int64Builder>(order, [&](auto& out, int64_t g) {
      out.UnsafeAppend(sets_[static_cast<size_t>(g)].size());
    });
  }
  int64_t extra_bytes() const override { return extra_; }

 private:
  void see(int64_t group, std::string_view key) {
    GroupTable& set = sets_[static_cast<size_t>(group)];
    const int64_t known = set.size();
    if (set.find_or_add(key) == known) extra_ += static_cast<int64_t>(key.size()) + 40;
  }
  SchemaPtr schema_;
  KeyEncoder encoder_;
  std::vector<GroupTable> sets_;
  int64_t extra_ = 0;
};

}  // namespace

double tree_sum(const double* x, int64_t n) {
  if (n == 1) return x[0];
  const int64_t left = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n - 1)));
  return tree_sum(x, left) + tree_sum(x + left, n - left);
}

AggregateKind aggregate_kind(const std::string& function, const std::shared_ptr<arrow::DataType>& column,
                             const std::string& place) {
  if (function == "count") return {{arrow::int64()}, arrow::int64()};
  static const std::vector<std::string> kNames = {
      "approx_quantile", "count", "count_distinct", "max", "mean", "min", "sum"};
  if (std::find(kNames.begin(), kNames.end(), function) == kNames.end()) {
    const std::string guess = nearest(function, kNames);
    throw InputError(cat(place, ": unknown aggregate: got ", function, ", want ",
                         guess.empty() ? cat("one of ", join(kNames, ", ")) : guess));
  }
  if (!column) throw InputError(cat(place, ": ", function, " wants a column: ", function, "(x)"));
  if (function == "sum" || function == "mean" || function == "approx_quantile") {
    const bool real = arrow::is_floating(column->id());
    if (!real && !arrow::is_integer(column->id()))
      throw InputError(cat(place, ": ", function, " does not take ", type_name(*column), ", want numbers"));
    if (function == "approx_quantile") return {{arrow::binary()}, arrow::float64()};
    const auto total = real ? arrow::float64() : arrow::int64();
    return {{total, arrow::int64()}, function == "mean" ? arrow::float64() : total};
  }
  KeyEncoder(arrow::schema({arrow::field("x", column)}), {{"x"}}, place);  // has an order
  if (function == "count_distinct") return {{arrow::binary()}, arrow::int64()};
  return {{column}, column};
}

std::unique_ptr<Accumulator> make_accumulator(const std::string& function,
                                              const std::shared_ptr<arrow::DataType>& column, double fraction,
                                              const std::string& place, GroupStates& states) {
  if (function == "approx_quantile") return make_quantile(fraction, place);
  if (function == "count") return std::make_unique<Count>(states);
  if (function == "sum" || function == "mean")
    return std::make_unique<Sum>(arrow::is_floating(column->id()), function == "mean", place, states);
  if (function == "count_distinct") return std::make_unique<CountDistinct>(column, place);
  if (column->id() == arrow::Type::INT64)
    return std::make_unique<NumberExtreme<arrow::Int64Array>>(function == "max", states);
  if (column->id() == arrow::Type::DOUBLE)
    return std::make_unique<NumberExtreme<arrow::DoubleArray>>(function == "max", states);
  return std::make_unique<Extreme>(column, function == "max", place);
}

}  // namespace shoal::flow
