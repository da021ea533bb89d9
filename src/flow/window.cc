// window: columns that look at the rows before them in their group. Rows come out by (by, order, place in the
// input).
#include <arrow/compute/api.h>

#include "base/text.h"
#include "flow/exchange.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

struct Column {
  std::string function;
  int index = -1;
  std::shared_ptr<arrow::DataType> type;
  std::string place;
};

class WindowExchange final : public Exchange {
 public:
  WindowExchange(const flow_steps::Window& step, SchemaPtr schema, std::string place)
      : schema_(std::move(schema)),
        place_(std::move(place)),
        num_by_(static_cast<int>(step.by.size())),
        encoder_(schema_, all_keys(step), place_) {
    for (const std::string& name : step.by)
      if (name.starts_with('-'))
        throw InputError(cat(place_, ": by: got ", name, ", want a column without direction"));
    arrow::FieldVector fields = schema_->fields();
    for (const FlowWindowColumn& wanted : step.columns) {
      Column column;
      column.place = cat(place_, ", ", wanted.name);
      std::string argument;
      std::tie(column.function, argument) = parse_call(wanted.call, column.place);
      resolve(column, argument);
      for (const auto& field : fields)
        if (field->name() == wanted.name) throw InputError(cat(column.place, ": two columns have this name"));
      fields.push_back(arrow::field(wanted.name, column.type));
      columns_.push_back(column);
    }
    out_schema_ = arrow::schema(fields);
  }

  const SchemaPtr& out_schema() const override { return out_schema_; }
  const SchemaPtr& run_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override {
    Names names;
    for (const std::string& name : names_of(*schema_))
      if (wanted.contains(name)) names.insert(name);
    encoder_.add_names(names);
    for (const Column& column : columns_)
      if (column.index >= 0) names.insert(schema_->field(column.index)->name());
    return names;
  }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return collect_rows(encoder_, schema_, part, place_);
  }
  size_t whole_prefix(std::string_view key) const override { return encoder_.prefix_length(key, num_by_); }

  Batch reduce(const SortedRows& sorted, bool) const override {
    const int64_t rows = sorted.rows->num_rows();
    std::vector<char> begins_group(static_cast<size_t>(rows));
    std::string_view last;
    for (int64_t row = 0; row < rows; ++row) {
      std::string_view key = sorted.keys[static_cast<size_t>(row)];
      key = key.substr(0, whole_prefix(key));
      begins_group[static_cast<size_t>(row)] = row == 0 || key != last;
      last = key;
    }
    std::vector<ArrayPtr> arrays = sorted.rows->columns();
    for (const Column& column : columns_) {
      const ArrayPtr argument = column.index < 0 ? nullptr : sorted.rows->column(column.index);
      if (column.function == "row_number")
        arrays.push_back(row_numbers(begins_group));
      else if (column.function == "lag")
        arrays.push_back(lag(argument, begins_group));
      else
        arrays.push_back(running_sum(argument, column, begins_group));
    }
    return arrow::RecordBatch::Make(out_schema_, rows, arrays);
  }

 private:
  static std::vector<KeyColumn> all_keys(const flow_steps::Window& step) {
    std::vector<std::string> names = step.by;
    names.insert(names.end(), step.order.begin(), step.order.end());
    return key_columns(names);
  }

  void resolve(Column& column, const std::string& argument) const {
    if (column.function != "row_number" && column.function != "lag" && column.function != "running_sum")
      throw InputError(cat(column.place, ": unknown window function: got ", column.function,
                           ", want row_number, lag or running_sum"));
    if (column.function == "row_number") {
      column.type = arrow::int64();
      if (!argument.empty())
        throw InputError(cat(column.place, ": row_number takes no column: want row_number()"));
      return;
    }
    column.index = want_column(*schema_, argument, column.place);
    column.type = schema_->field(column.index)->type();
    if (column.function == "lag") return;
    const bool real = arrow::is_floating(column.type->id());
    if (!real && !arrow::is_integer(column.type->id()))
      throw InputError(
          cat(column.place, ": running_sum does not take ", type_name(*column.type), ", want numbers"));
    column.type = real ? arrow::float64() : arrow::int64();
  }

  ArrayPtr row_numbers(const std::vector<char>& begins_group) const {
    arrow::Int64Builder out;
    int64_t number = 0;
    for (const char begins : begins_group) {
      number = begins ? 1 : number + 1;
      require(out.Append(number), place_);
    }
    return value(out.Finish(), place_);
  }

  ArrayPtr lag(const ArrayPtr& argument, const std::vector<char>& begins_group) const {
    arrow::Int64Builder rows;
    for (size_t row = 0; row < begins_group.size(); ++row)
      require(begins_group[row] ? rows.AppendNull() : rows.Append(static_cast<int64_t>(row) - 1), place_);
    return value(arrow::compute::Take(*argument, *value(rows.Finish(), place_)), place_);
  }

  /// Null until the first value of a group; a null adds nothing.
  ArrayPtr running_sum(const ArrayPtr& argument, const Column& column,
                       const std::vector<char>& begins_group) const {
    const ArrayPtr same = value(arrow::compute::Cast(*argument, column.type), place_);
    const bool real = column.type->id() == arrow::Type::DOUBLE;
    arrow::Int64Builder wholes;
    arrow::DoubleBuilder reals;
    int64_t whole = 0;
    double sum = 0;
    bool any = false;
    for (size_t row = 0; row < begins_group.size(); ++row) {
      const int64_t r = static_cast<int64_t>(row);
      if (begins_group[row]) whole = 0, sum = 0, any = false;
      if (same->IsValid(r)) {
        any = true;
        if (real)
          sum += static_cast<const arrow::DoubleArray&>(*same).Value(r);
        else if (__builtin_add_overflow(whole, static_cast<const arrow::Int64Array&>(*same).Value(r), &whole))
          throw JobError(
              cat(column.place,
                  ": a sum of whole numbers does not fit into 64 bits; make the column a float first"));
      }
      if (real)
        require(any ? reals.Append(sum) : reals.AppendNull(), place_);
      else
        require(any ? wholes.Append(whole) : wholes.AppendNull(), place_);
    }
    return real ? value(reals.Finish(), place_) : value(wholes.Finish(), place_);
  }

  SchemaPtr schema_;
  std::string place_;
  int num_by_;
  KeyEncoder encoder_;
  std::vector<Column> columns_;
  SchemaPtr out_schema_;
};

}  // namespace

std::unique_ptr<Exchange> make_window(const flow_steps::Window& step, const SchemaPtr& schema,
                                      const std::string& place) {
  return std::make_unique<WindowExchange>(step, schema, place);
}

}  // namespace shoal::flow
