#include "flow/key.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr char kValue = 1, kNull = 2;  // first byte of each column: nulls are last whatever the direction

void put_big_endian(std::string& out, uint64_t bits) {
  bits = std::endian::native == std::endian::little ? __builtin_bswap64(bits) : bits;
  out.append(reinterpret_cast<const char*>(&bits), sizeof bits);
}

void put(std::string& out, int64_t number) { put_big_endian(out, static_cast<uint64_t>(number) ^ (uint64_t{1} << 63)); }
void put(std::string& out, uint64_t number) { put_big_endian(out, number); }
void put(std::string& out, double number) {
  if (std::isnan(number)) number = std::numeric_limits<double>::quiet_NaN();
  if (number == 0) number = 0;
  const uint64_t bits = std::bit_cast<uint64_t>(number);
  put_big_endian(out, bits >> 63 ? ~bits : bits | uint64_t{1} << 63);
}
void put(std::string& out, std::string_view text) {
  while (true) {  // 0 is written as 0 255, the end as 0 0: no key is the beginning of another
    const size_t zero = text.find('\0');
    out.append(text.substr(0, zero));
    out.push_back('\0');
    if (zero == std::string_view::npos) break;
    out.push_back('\xff');
    text.remove_prefix(zero + 1);
  }
  out.push_back('\0');
}

/// A column's values, one by one, as what they are compared as.
using Putter = void (*)(std::string&, const arrow::Array&, int64_t row);

template <class ArrayType, class As>
void put_value(std::string& out, const arrow::Array& array, int64_t row) {
  if constexpr (std::is_same_v<As, std::string_view>)
    put(out, std::string_view(static_cast<const ArrayType&>(array).GetView(row)));
  else
    put(out, static_cast<As>(static_cast<const ArrayType&>(array).Value(row)));
}

struct Kind {
  Putter putter = nullptr;
  const char* name = "";
};

Kind kind_of(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return {put_value<arrow::BooleanArray, int64_t>, "bool"};
    case arrow::Type::INT8:
      return {put_value<arrow::Int8Array, int64_t>, "whole number"};
    case arrow::Type::INT16:
      return {put_value<arrow::Int16Array, int64_t>, "whole number"};
    case arrow::Type::INT32:
      return {put_value<arrow::Int32Array, int64_t>, "whole number"};
    case arrow::Type::INT64:
      return {put_value<arrow::Int64Array, int64_t>, "whole number"};
    case arrow::Type::UINT8:
      return {put_value<arrow::UInt8Array, int64_t>, "whole number"};
    case arrow::Type::UINT16:
      return {put_value<arrow::UInt16Array, int64_t>, "whole number"};
    case arrow::Type::UINT32:
      return {put_value<arrow::UInt32Array, int64_t>, "whole number"};
    case arrow::Type::UINT64:
      return {put_value<arrow::UInt64Array, uint64_t>, "uint64"};
    case arrow::Type::DATE32:
      return {put_value<arrow::Date32Array, int64_t>, "date"};
    case arrow::Type::DATE64:
      return {put_value<arrow::Date64Array, int64_t>, "date64"};
    case arrow::Type::TIMESTAMP:
      return {put_value<arrow::TimestampArray, int64_t>, "timestamp"};
    case arrow::Type::FLOAT:
      return {put_value<arrow::FloatArray, double>, "number"};
    case arrow::Type::DOUBLE:
      return {put_value<arrow::DoubleArray, double>, "number"};
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return {put_value<arrow::BinaryArray, std::string_view>, "text"};
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return {put_value<arrow::LargeBinaryArray, std::string_view>, "text"};
    default:
      return {};
  }
}

/// Sorts numbered texts by their first eight bytes as a number, and the rest only where those are equal.
template <class KeyOf>
std::vector<int64_t> sort_by(int64_t rows, const KeyOf& key_of) {
  struct Entry {
    uint64_t head;
    int64_t row;
  };
  std::vector<Entry> entries(static_cast<size_t>(rows));
  bool sorted = true;
  for (int64_t row = 0; row < rows; ++row) {
    const std::string_view key = key_of(row);
    uint64_t head = 0;
    std::memcpy(&head, key.data(), std::min(key.size(), sizeof head));
    if constexpr (std::endian::native == std::endian::little) head = __builtin_bswap64(head);
    entries[static_cast<size_t>(row)] = {head, row};
    sorted = sorted && (row == 0 || key_of(row - 1) <= key);
  }
  if (!sorted) {
    std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
      if (a.head != b.head) return a.head < b.head;
      const int order = key_of(a.row).compare(key_of(b.row));
      return order != 0 ? order < 0 : a.row < b.row;
    });
  }
  std::vector<int64_t> order(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) order[i] = entries[i].row;
  return order;
}

}  // namespace

KeyEncoder::KeyEncoder(SchemaPtr schema, const std::vector<KeyColumn>& columns, const std::string& place)
    : schema_(std::move(schema)) {
  for (const KeyColumn& column : columns) {
    const int index = want_column(*schema_, column.name, place);
    const arrow::DataType& type = *schema_->field(index)->type();
    if (!kind_of(type).putter)
      throw InputError(cat(place, ": column ", column.name, " has no order: got ", type_name(type),
                           ", want numbers, text, bool, date or timestamp"));
    columns_.push_back(index);
    descending_.push_back(column.descending);
  }
}

std::vector<std::string> KeyEncoder::kinds() const {
  std::vector<std::string> kinds;
  for (const int column : columns_) {
    const arrow::DataType& type = *schema_->field(column)->type();
    kinds.push_back(type.id() == arrow::Type::TIMESTAMP ? type_name(type) : kind_of(type).name);
  }
  return kinds;
}

Keys KeyEncoder::encode(const arrow::RecordBatch& batch) const {
  Keys keys;
  const int64_t rows = batch.num_rows();
  keys.offsets_.reserve(static_cast<size_t>(rows) + 1);
  keys.has_null_.assign(static_cast<size_t>(rows), 0);
  std::vector<std::pair<const arrow::Array*, Putter>> sources;
  for (const int column : columns_)
    sources.push_back({batch.column(column).get(), kind_of(*batch.column(column)->type()).putter});
  for (int64_t row = 0; row < rows; ++row) {
    for (size_t c = 0; c < sources.size(); ++c) {
      const auto& [array, putter] = sources[c];
      if (array->IsNull(row)) {
        keys.bytes_.push_back(kNull);
        keys.has_null_[static_cast<size_t>(row)] = 1;
        continue;
      }
      keys.bytes_.push_back(kValue);
      const size_t begin = keys.bytes_.size();
      putter(keys.bytes_, *array, row);
      if (descending_[c])
        for (size_t i = begin; i < keys.bytes_.size(); ++i) keys.bytes_[i] = static_cast<char>(~keys.bytes_[i]);
    }
    keys.offsets_.push_back(keys.bytes_.size());
  }
  return keys;
}

std::string place_bytes(int64_t place) {
  std::string bytes;
  put_big_endian(bytes, static_cast<uint64_t>(place));
  return bytes;
}

std::vector<int64_t> sorted_rows(const Keys& keys) {
  return sort_by(keys.size(), [&](int64_t row) { return keys[row]; });
}

std::vector<int64_t> sorted_rows(const arrow::BinaryArray& keys) {
  return sort_by(keys.length(), [&](int64_t row) { return std::string_view(keys.GetView(row)); });
}

}  // namespace shoal::flow
