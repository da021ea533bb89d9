// Arrow as flow uses it: its errors become ours, and the few calls that most files need.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace shoal::flow {

using Batch = std::shared_ptr<arrow::RecordBatch>;
using SchemaPtr = std::shared_ptr<arrow::Schema>;
using ArrayPtr = std::shared_ptr<arrow::Array>;

/// What Arrow says, on one line.
std::string reason(const arrow::Status&);
/// Throws JobError "place - what Arrow says" unless it is well.
void require(const arrow::Status&, const std::string& place);

template <class T>
T value(arrow::Result<T> result, const std::string& place) {
  require(result.status(), place);
  return std::move(result).ValueUnsafe();
}

/// Arrow's functions are known from here on. Any thread, any number of times.
void initialise_arrow();

/// The rows of these numbers, in this order.
Batch take(const Batch&, const std::vector<int64_t>& rows, const std::string& place);
/// One batch of all rows. An empty list is an empty batch of the schema.
Batch concatenate(const SchemaPtr&, const std::vector<Batch>&, const std::string& place);
Batch empty_batch(const SchemaPtr&);

/// Bytes that the rows of a batch take, of slices their share.
int64_t num_bytes(const arrow::RecordBatch&);

/// The column of this name, or -1. Names are one each: check_schema() holds them to it.
int column_of(const arrow::Schema&, const std::string& name);
/// As column_of, but throws InputError "place: unknown column: got x, want ...".
int want_column(const arrow::Schema&, const std::string& name, const std::string& place);
std::vector<std::string> names_of(const arrow::Schema&);
/// Some columns, by name.
using Names = std::set<std::string>;

/// The type as a person writes it: "int64", "float64", "text".
std::string type_name(const arrow::DataType&);
/// Text in UTF-8, with offsets of either width.
bool is_text(const arrow::DataType&);

}  // namespace shoal::flow
