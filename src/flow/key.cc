#include "flow/key.h"

#include <arrow/compute/api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/text.h"
#include "flow/short_copy.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr char kValue = 1, kNull = 2;  // first byte of each column: nulls are last whatever the direction

char* put(char* out, uint64_t bits) {
  bits = std::endian::native == std::endian::little ? __builtin_bswap64(bits) : bits;
  std::memcpy(out, &bits, sizeof bits);
  return out + sizeof bits;
}
char* put(char* out, int64_t number) { return put(out, order_bits(number)); }
char* put(char* out, double number) { return put(out, order_bits(number)); }
char* put(char* out, std::string_view text, bool may_have_zero) {
  while (true) {  // 0 is written as 0 255, the end as 0 0: no key is the beginning of another
    const size_t zero = may_have_zero ? std::min(text.find('\0'), text.size()) : text.size();
    out = short_copy(out, text.data(), zero);
    *out++ = '\0';
    if (zero == text.size()) break;
    *out++ = '\xff';
    text.remove_prefix(zero + 1);
  }
  *out++ = '\0';
  return out;
}

/// One column's values of some rows, behind what stands in the keys already.
struct Cursor {
  char* out;
  size_t* ends;  // of each row's key, from `begin`
  char* has_null;
  const char* begin;
};
struct Values {
  const arrow::Array* array;
  bool descending;
  bool has_zero;  // a text of it, perhaps
};
using Putter = void (*)(Cursor&, const Values&, int64_t first, int64_t last);

template <class ArrayType, class As>
void put_values(Cursor& to, const Values& from, int64_t first, int64_t last) {
  const arrow::Array& array = *from.array;
  const bool has_nulls = array.null_count() > 0, descending = from.descending, has_zero = from.has_zero;
  const auto& values = static_cast<const ArrayType&>(array);
  for (int64_t row = first; row < last; ++row) {
    if (has_nulls && array.IsNull(row)) {
      *to.out++ = kNull;
      to.has_null[row] = 1;
    } else {
      *to.out++ = kValue;
      char* const value_begin = to.out;
      if constexpr (std::is_same_v<As, std::string_view>)
        to.out = put(to.out, std::string_view(values.GetView(row)), has_zero);
      else
        to.out = put(to.out, static_cast<As>(values.Value(row)));
      if (descending)
        for (char* c = value_begin; c < to.out; ++c) *c = static_cast<char>(~*c);
    }
    to.ends[row] = static_cast<size_t>(to.out - to.begin);
  }
}

/// The most bytes that a column can take in the keys, and whether a text has a 0 in it.
struct Room {
  size_t bytes;
  bool has_zero = false;
};
Room room_for(const arrow::Array& array) {
  const size_t rows = static_cast<size_t>(array.length());
  const auto for_texts = [&](const auto& texts) {
    const size_t bytes = static_cast<size_t>(texts.total_values_length());
    const bool has_zero = bytes > 0 && std::memchr(texts.raw_data() + texts.value_offset(0), 0, bytes);
    return Room{bytes * (has_zero ? 2 : 1) + 3 * rows, has_zero};
  };
  if (arrow::is_binary_like(array.type_id()))
    return for_texts(static_cast<const arrow::BinaryArray&>(array));
  if (arrow::is_large_binary_like(array.type_id()))
    return for_texts(static_cast<const arrow::LargeBinaryArray&>(array));
  return {rows * (1 + sizeof(uint64_t))};
}

struct Kind {
  Putter putter = nullptr;
  const char* name = "";
};

Kind kind_of(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return {put_values<arrow::BooleanArray, int64_t>, "bool"};
    case arrow::Type::INT8:
      return {put_values<arrow::Int8Array, int64_t>, "whole number"};
    case arrow::Type::INT16:
      return {put_values<arrow::Int16Array, int64_t>, "whole number"};
    case arrow::Type::INT32:
      return {put_values<arrow::Int32Array, int64_t>, "whole number"};
    case arrow::Type::INT64:
      return {put_values<arrow::Int64Array, int64_t>, "whole number"};
    case arrow::Type::UINT8:
      return {put_values<arrow::UInt8Array, int64_t>, "whole number"};
    case arrow::Type::UINT16:
      return {put_values<arrow::UInt16Array, int64_t>, "whole number"};
    case arrow::Type::UINT32:
      return {put_values<arrow::UInt32Array, int64_t>, "whole number"};
    case arrow::Type::UINT64:
      return {put_values<arrow::UInt64Array, uint64_t>, "uint64"};
    case arrow::Type::DATE32:
      return {put_values<arrow::Date32Array, int64_t>, "date"};
    case arrow::Type::DATE64:
      return {put_values<arrow::Date64Array, int64_t>, "date64"};
    case arrow::Type::TIMESTAMP:
      return {put_values<arrow::TimestampArray, int64_t>, "timestamp"};
    case arrow::Type::FLOAT:
      return {put_values<arrow::FloatArray, double>, "number"};
    case arrow::Type::DOUBLE:
      return {put_values<arrow::DoubleArray, double>, "number"};
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return {put_values<arrow::BinaryArray, std::string_view>, "text"};
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return {put_values<arrow::LargeBinaryArray, std::string_view>, "text"};
    default:
      return {};
  }
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
      require(real.Append(real_of_bits(get_big_endian(key))), kPlace);
    } else {
      const uint64_t bits = get_big_endian(key);
      require(whole.Append(id == arrow::Type::UINT64 ? static_cast<int64_t>(bits) : whole_of_bits(bits)), kPlace);
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

void KeyEncoder::add_names(Names& names) const {
  for (const int column : columns_) names.insert(schema_->field(column)->name());
}

std::vector<std::string> KeyEncoder::kinds() const {
  std::vector<std::string> kinds;
  for (const int column : columns_) {
    const arrow::DataType& type = *schema_->field(column)->type();
    kinds.push_back(type.id() == arrow::Type::TIMESTAMP ? type_name(type) : kind_of(type).name);
  }
  return kinds;
}

Keys KeyEncoder::encode(const arrow::RecordBatch& batch, std::optional<int64_t> first_place) const {
  const int64_t rows = batch.num_rows();
  size_t most = first_place ? static_cast<size_t>(rows) * kPlaceBytes : 0;
  std::vector<std::pair<Values, Putter>> sources;
  for (size_t c = 0; c < columns_.size(); ++c) {
    const arrow::Array& array = *batch.column(columns_[c]);
    const Room room = room_for(array);
    most += room.bytes;
    sources.push_back({{&array, descending_[c], room.has_zero}, kind_of(*array.type()).putter});
  }
  Keys keys;
  keys.bytes_ = std::make_unique_for_overwrite<char[]>(most);
  keys.offsets_.assign(static_cast<size_t>(rows) + 1, 0);
  keys.has_null_.assign(static_cast<size_t>(rows), 0);
  Cursor to{keys.bytes_.get(), keys.offsets_.data() + 1, keys.has_null_.data(), keys.bytes_.get()};
  if (sources.size() == 1 && !first_place) {
    sources[0].second(to, sources[0].first, 0, rows);
    return keys;
  }
  for (int64_t row = 0; row < rows; ++row) {
    for (const auto& [values, put_into] : sources) put_into(to, values, row, row + 1);
    if (first_place) to.out = put(to.out, static_cast<uint64_t>(*first_place + row));
    to.ends[row] = static_cast<size_t>(to.out - to.begin);
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
  std::string bytes(kPlaceBytes, '\0');
  put(bytes.data(), static_cast<uint64_t>(place));
  return bytes;
}

}  // namespace shoal::flow
