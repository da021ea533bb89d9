#include "flow/arrow.h"

#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>
#include <arrow/util/byte_size.h>

#include <mutex>

#include "base/text.h"
#include "flow/keeping_pool.h"
#include "flow/sequence_functions.h"
#include "flow/text_measures.h"
#include "shoal/error.h"

namespace shoal::flow {

std::string reason(const arrow::Status& status) {
  const std::string& what = status.message();
  return what.substr(0, what.find('\n'));
}

void require(const arrow::Status& status, const std::string& place) {
  if (!status.ok()) throw JobError(cat(place, " - ", reason(status)));
}

void initialise_arrow() {
  static std::once_flag once;
  std::call_once(once, [] {
    require(arrow::compute::Initialize(), "Arrow");
    register_sequence_functions();
    register_text_measures();
  });
}

Batch take(const Batch& batch, const std::vector<int64_t>& rows, const std::string& place) {
  const auto indices = std::make_shared<arrow::Int64Array>(static_cast<int64_t>(rows.size()),
                                                           arrow::Buffer::Wrap(rows.data(), rows.size()));
  arrow::compute::ExecContext context(&memory());
  const auto taken = value(arrow::compute::Take(arrow::Datum(batch), arrow::Datum(indices),
                                                arrow::compute::TakeOptions::NoBoundsCheck(), &context),
                           place);
  return taken.record_batch();
}

Batch concatenate(const SchemaPtr& schema, const std::vector<Batch>& batches, const std::string& place) {
  if (batches.empty()) return empty_batch(schema);
  if (batches.size() == 1) return batches.front();
  int64_t rows = 0;
  for (const Batch& batch : batches) rows += batch->num_rows();
  std::vector<ArrayPtr> columns;
  for (int c = 0; c < schema->num_fields(); ++c) {
    std::vector<ArrayPtr> parts;
    for (const Batch& batch : batches) parts.push_back(batch->column(c));
    columns.push_back(value(arrow::Concatenate(parts, &memory()), place));
  }
  return arrow::RecordBatch::Make(schema, rows, columns);
}

Batch empty_batch(const SchemaPtr& schema) { return value(arrow::RecordBatch::MakeEmpty(schema), "Arrow"); }

int64_t num_bytes(const arrow::RecordBatch& batch) {
  int64_t bytes = 0;
  for (const ArrayPtr& column : batch.columns())
    bytes += arrow::util::ReferencedBufferSize(*column).ValueOr(arrow::util::TotalBufferSize(*column));
  return bytes;
}

int column_of(const arrow::Schema& schema, const std::string& name) { return schema.GetFieldIndex(name); }

std::vector<std::string> names_of(const arrow::Schema& schema) {
  std::vector<std::string> names;
  for (const auto& field : schema.fields()) names.push_back(field->name());
  return names;
}

int want_column(const arrow::Schema& schema, const std::string& name, const std::string& place) {
  const int column = column_of(schema, name);
  if (column >= 0) return column;
  const std::vector<std::string> names = names_of(schema);
  const std::string guess = name.size() > 2 ? nearest(name, names) : "";  // of short names, anything is near
  throw InputError(cat(place, ": unknown column: got ", name, ", want ",
                       guess.empty() ? cat("one of ", join(names, ", ")) : guess));
}

bool is_text(const arrow::DataType& type) {
  return type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING;
}

std::string type_name(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
      return "text";
    case arrow::Type::DOUBLE:
      return "float64";
    case arrow::Type::FLOAT:
      return "float32";
    default:
      return type.ToString();
  }
}

}  // namespace shoal::flow
