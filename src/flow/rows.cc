#include "flow/rows.h"

#include <charconv>

#include "base/text.h"
#include "flow/keeping_pool.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

template <class T>
bool parse_number(std::string_view text, T& number) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

CellType cell_type(const std::string& word, const std::string& place) {
  if (word == "int") return CellType::kInt;
  if (word == "float") return CellType::kFloat;
  if (word == "bool") return CellType::kBool;
  if (word == "text") return CellType::kText;
  throw InputError(cat(place, ": type: got ", word, ", want int, float, bool or text"));
}

std::shared_ptr<arrow::DataType> arrow_type(CellType type) {
  switch (type) {
    case CellType::kInt:
      return arrow::int64();
    case CellType::kFloat:
      return arrow::float64();
    case CellType::kBool:
      return arrow::boolean();
    case CellType::kText:
      break;
  }
  return arrow::utf8();
}

CellType cell_type(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::INT64:
      return CellType::kInt;
    case arrow::Type::DOUBLE:
      return CellType::kFloat;
    case arrow::Type::BOOL:
      return CellType::kBool;
    default:
      return CellType::kText;
  }
}

const char* wanted(CellType type) {
  switch (type) {
    case CellType::kInt:
      return "a whole number";
    case CellType::kFloat:
      return "a number";
    case CellType::kBool:
      return "true or false";
    case CellType::kText:
      break;
  }
  return "text";
}

bool parse_cell(std::string_view text, int64_t& whole) { return parse_number(text, whole); }
bool parse_cell(std::string_view text, double& real) { return parse_number(text, real); }
bool parse_cell(std::string_view text, bool& truth) {
  truth = text == "true" || text == "True" || text == "TRUE";
  return truth || text == "false" || text == "False" || text == "FALSE";
}

bool is_of_type(std::string_view text, CellType type) {
  int64_t whole;
  double real;
  bool truth;
  switch (type) {
    case CellType::kInt:
      return parse_cell(text, whole);
    case CellType::kFloat:
      return parse_cell(text, real);
    case CellType::kBool:
      return parse_cell(text, truth);
    case CellType::kText:
      break;
  }
  return true;
}

RowBuilder::RowBuilder(SchemaPtr schema)
    : schema_(std::move(schema)), cells_(static_cast<size_t>(schema_->num_fields())) {
  for (const auto& field : schema_->fields()) {
    types_.push_back(cell_type(*field->type()));
    builders_.push_back(value(arrow::MakeBuilder(field->type(), &memory()), "rows"));
  }
}

bool RowBuilder::set(int column, std::string_view text) {
  Cell& cell = cells_[static_cast<size_t>(column)];
  cell.is_set = true;
  switch (types_[static_cast<size_t>(column)]) {
    case CellType::kInt:
      return parse_cell(text, cell.whole);
    case CellType::kFloat:
      return parse_cell(text, cell.real);
    case CellType::kBool: {
      bool truth = false;
      const bool good = parse_cell(text, truth);
      cell.whole = truth;
      return good;
    }
    case CellType::kText:
      cell.text.assign(text);
      return true;
  }
  return false;
}

void RowBuilder::clear() {
  for (Cell& cell : cells_) cell.is_set = false;
}

void RowBuilder::reserve() {
  constexpr int64_t kRows = 1024;
  if (rows_ % kRows != 0) return;
  static const std::string kPlace = "rows";
  for (const auto& builder : builders_) require(builder->Reserve(kRows), kPlace);
}

void RowBuilder::commit() {
  reserve();
  bytes_ += static_cast<int64_t>(8 * cells_.size());
  for (size_t c = 0; c < cells_.size(); ++c) {
    Cell& cell = cells_[c];
    arrow::ArrayBuilder& builder = *builders_[c];
    const auto append = [&]<class Builder>(Builder& to, const auto& value) {
      cell.is_set ? to.UnsafeAppend(value) : to.UnsafeAppendNull();
    };
    switch (types_[c]) {
      case CellType::kInt:
        append(static_cast<arrow::Int64Builder&>(builder), cell.whole);
        break;
      case CellType::kFloat:
        append(static_cast<arrow::DoubleBuilder&>(builder), cell.real);
        break;
      case CellType::kBool:
        append(static_cast<arrow::BooleanBuilder&>(builder), cell.whole != 0);
        break;
      case CellType::kText: {
        auto& texts = static_cast<arrow::StringBuilder&>(builder);
        const int64_t bytes = cell.is_set ? static_cast<int64_t>(cell.text.size()) : 0;
        if (const arrow::Status status = texts.ReserveData(bytes); !status.ok()) require(status, "rows");
        append(texts, std::string_view(cell.text));
        bytes_ += bytes;
        break;
      }
    }
    cell.is_set = false;
  }
  ++rows_;
}

Batch RowBuilder::finish() {
  std::vector<ArrayPtr> columns;
  for (auto& builder : builders_) columns.push_back(value(builder->Finish(), "rows"));
  Batch batch = arrow::RecordBatch::Make(schema_, rows_, columns);
  rows_ = bytes_ = 0;
  return batch;
}

}  // namespace shoal::flow
