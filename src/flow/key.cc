#include "flow/key.h"

#include <arrow/compute/api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr char kValue = 1, kNull = 2;  // first byte of each column: nulls are last whatever the direction

void put_big_endian(std::string& out, uint64_t bits) {
  bits = std::endian::native == std::endian::little ? __builtin_bswap64(bits) : bits;
  out.append(reinterpret_cast<const char*>(&bits), sizeof bits);
}

void put(std::string& out, int64_t number) { put_big_endian(out, order_bits(number)); }
void put(std::string& out, uint64_t number) { put_big_endian(out, number); }
void put(std::string& out, double number) { put_big_endian(out, order_bits(number)); }
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

struct Entry {
  uint64_t head;  // the first eight bytes of the key, as a number
  int64_t row;
};

/// Merges the stretches that are in order already, two by two, until one is left. bounds: where each begins,
/// and the end.
template <class Before>
void merge_stretches(std::vector<Entry>& entries, std::vector<size_t> bounds, const Before& before) {
  std::vector<Entry> merged(entries.size());
  while (bounds.size() > 2) {
    std::vector<size_t> next = {0};
    for (size_t i = 0; i + 1 < bounds.size(); i += 2) {
      const auto begin = entries.begin() + static_cast<int64_t>(bounds[i]),
                 middle = entries.begin() + static_cast<int64_t>(bounds[i + 1]);
      const auto end = entries.begin() + static_cast<int64_t>(bounds[std::min(i + 2, bounds.size() - 1)]);
      std::merge(begin, middle, middle, end, merged.begin() + static_cast<int64_t>(bounds[i]), before);
      next.push_back(bounds[std::min(i + 2, bounds.size() - 1)]);
    }
    entries.swap(merged);
    bounds = std::move(next);
  }
}

/// Sorts numbered texts by their first eight bytes as a number, and the rest only where those are equal. Runs
/// that lie one after the other are merged.
template <class KeyOf>
std::vector<int64_t> sort_by(int64_t rows, const KeyOf& key_of) {
  std::vector<Entry> entries(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    const std::string_view key = key_of(row);
    uint64_t head = 0;
    std::memcpy(&head, key.data(), std::min(key.size(), sizeof head));
    if constexpr (std::endian::native == std::endian::little) head = __builtin_bswap64(head);
    entries[static_cast<size_t>(row)] = {head, row};
  }
  const auto before = [&](const Entry& a, const Entry& b) {
    if (a.head != b.head) return a.head < b.head;
    const int order = key_of(a.row).compare(key_of(b.row));
    return order != 0 ? order < 0 : a.row < b.row;
  };
  std::vector<size_t> bounds = {0};
  for (size_t i = 1; i < entries.size(); ++i)
    if (before(entries[i], entries[i - 1])) bounds.push_back(i);
  bounds.push_back(entries.size());
  if (bounds.size() < entries.size() / 16)
    merge_stretches(entries, bounds, before);
  else
    std::sort(entries.begin(), entries.end(), before);
  std::vector<int64_t> order(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) order[i] = entries[i].row;
  return order;
}

uint64_t get_big_endian(std::string_view& key) {
  uint64_t bits;
  std::memcpy(&bits, key.data(), sizeof bits);
  key.remove_prefix(sizeof bits);
  return std::endian::native == std::endian::little ? __builtin_bswap64(bits) : bits;
}

bool is_text(arrow::Type::type id) {
  return id == arrow::Type::STRING || id == arrow::Type::BINARY || id == arrow::Type::LARGE_STRING ||
         id == arrow::Type::LARGE_BINARY;
}
bool is_real(arrow::Type::type id) { return id == arrow::Type::FLOAT || id == arrow::Type::DOUBLE; }

std::string get_text(std::string_view& key) {
  std::string text;
  while (true) {
    const size_t zero = key.find('\0');
    text.append(key.substr(0, zero));
    const bool ends = key[zero + 1] == '\0';
    key.remove_prefix(zero + 2);
    if (ends) return text;
    text.push_back('\0');
  }
}

/// The same of a descending column, whose bytes are all inverted, or not.
size_t value_length(std::string_view key, arrow::Type::type id, bool inverted) {
  if (!is_text(id)) return sizeof(uint64_t);
  const char zero = inverted ? '\xff' : '\0';
  size_t at = 0;
  while (true) {
    at = key.find(zero, at);
    if (key[at + 1] == zero) return at + 2;
    at += 2;
  }
}

/// One column, from the front of each key, which it takes off.
ArrayPtr decode_column(std::vector<std::string_view>& keys, const std::shared_ptr<arrow::DataType>& type) {
  const arrow::Type::type id = type->id();
  static const std::string kPlace = "key";
  arrow::Int64Builder whole;
  arrow::DoubleBuilder real;
  arrow::BinaryBuilder text;
  for (std::string_view& key : keys) {
    const bool is_null = key.front() == kNull;
    key.remove_prefix(1);
    if (is_text(id))
      require(is_null ? text.AppendNull() : text.Append(get_text(key)), kPlace);
    else if (is_null)
      require(is_real(id) ? real.AppendNull() : whole.AppendNull(), kPlace);
    else if (is_real(id)) {
      const uint64_t bits = get_big_endian(key);
      require(real.Append(std::bit_cast<double>(bits >> 63 ? bits & ~(uint64_t{1} << 63) : ~bits)), kPlace);
    } else {
      const uint64_t bits = get_big_endian(key);
      require(
          whole.Append(static_cast<int64_t>(id == arrow::Type::UINT64 ? bits : bits ^ (uint64_t{1} << 63))),
          kPlace);
    }
  }
  namespace ac = arrow::compute;
  if (is_text(id)) {
    const ArrayPtr bytes = value(text.Finish(), kPlace);
    if (id == arrow::Type::STRING) return value(bytes->View(type), kPlace);
    return id == arrow::Type::BINARY ? bytes : value(ac::Cast(*bytes, type), kPlace);
  }
  if (is_real(id))
    return value(ac::Cast(*value(real.Finish(), kPlace), type, ac::CastOptions::Unsafe()), kPlace);
  const ArrayPtr numbers = value(whole.Finish(), kPlace);
  if (id == arrow::Type::UINT64 || id == arrow::Type::DATE64 || id == arrow::Type::TIMESTAMP)
    return value(numbers->View(type), kPlace);
  if (id == arrow::Type::DATE32)
    return value(value(ac::Cast(*numbers, arrow::int32()), kPlace)->View(type), kPlace);
  return value(ac::Cast(*numbers, type), kPlace);
}

}  // namespace

std::vector<ArrayPtr> KeyEncoder::decode(const std::vector<std::string_view>& keys) const {
  std::vector<std::string_view> rest = keys;
  std::vector<ArrayPtr> columns;
  for (const int column : columns_) columns.push_back(decode_column(rest, schema_->field(column)->type()));
  return columns;
}

size_t KeyEncoder::prefix_length(std::string_view key, int num_columns) const {
  size_t at = 0;
  for (size_t c = 0; c < static_cast<size_t>(num_columns); ++c) {
    const bool is_null = key[at++] == kNull;
    if (!is_null)
      at += value_length(key.substr(at), schema_->field(columns_[c])->type()->id(), descending_[c]);
  }
  return at;
}

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
        for (size_t i = begin; i < keys.bytes_.size(); ++i)
          keys.bytes_[i] = static_cast<char>(~keys.bytes_[i]);
    }
    keys.offsets_.push_back(keys.bytes_.size());
  }
  return keys;
}

std::vector<KeyColumn> key_columns(const std::vector<std::string>& names) {
  std::vector<KeyColumn> columns;
  for (const std::string& name : names)
    columns.push_back(name.starts_with('-') ? KeyColumn{name.substr(1), true} : KeyColumn{name, false});
  return columns;
}

std::string place_bytes(int64_t place) {
  std::string bytes;
  put_big_endian(bytes, static_cast<uint64_t>(place));
  return bytes;
}

std::vector<int64_t> sorted_rows(const Keys& keys) {
  return sort_by(keys.size(), [&](int64_t row) { return keys[row]; });
}

std::vector<int64_t> sorted_rows(const std::string& bytes, const std::vector<size_t>& offsets) {
  const std::string_view all(bytes);
  return sort_by(static_cast<int64_t>(offsets.size()) - 1, [&](int64_t row) {
    const size_t begin = offsets[static_cast<size_t>(row)];
    return all.substr(begin, offsets[static_cast<size_t>(row) + 1] - begin);
  });
}

std::string number_key(uint64_t bits) {
  std::string key(1, kValue);
  put_big_endian(key, bits);
  return key;
}

std::vector<int64_t> sorted_rows(const arrow::BinaryArray& keys) {
  return sort_by(keys.length(), [&](int64_t row) { return std::string_view(keys.GetView(row)); });
}

}  // namespace shoal::flow
