#include "flow/numbers.h"

#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <cmath>
#include <limits>

#include "base/half.h"

namespace shoal::flow {
namespace {

using data::SampleType;

/// A number as 64 bits hold it, and rounded once to the others. `whole`: where it is a whole number that
/// fits.
struct Number {
  bool is_whole;
  int64_t whole;
  double real;
  float single;
};

Number of_whole(int64_t whole) {
  return {true, whole, static_cast<double>(whole), static_cast<float>(whole)};
}

Number of_real(double real) {
  const bool fits = real >= -0x1p63 && real < 0x1p63 && real == std::trunc(real);
  return {fits, fits ? static_cast<int64_t>(real) : 0, real, static_cast<float>(real)};
}

template <class Array>
auto at(const arrow::Array& array, int64_t row) {
  return static_cast<const Array&>(array).Value(row);
}

Number number_at(const arrow::Array& array, int64_t row) {
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      return of_whole(at<arrow::BooleanArray>(array, row) ? 1 : 0);
    case arrow::Type::INT8:
      return of_whole(at<arrow::Int8Array>(array, row));
    case arrow::Type::INT16:
      return of_whole(at<arrow::Int16Array>(array, row));
    case arrow::Type::INT32:
      return of_whole(at<arrow::Int32Array>(array, row));
    case arrow::Type::INT64:
      return of_whole(at<arrow::Int64Array>(array, row));
    case arrow::Type::UINT8:
      return of_whole(at<arrow::UInt8Array>(array, row));
    case arrow::Type::UINT16:
      return of_whole(at<arrow::UInt16Array>(array, row));
    case arrow::Type::UINT32:
      return of_whole(at<arrow::UInt32Array>(array, row));
    case arrow::Type::UINT64: {
      const uint64_t number = at<arrow::UInt64Array>(array, row);
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return {false, 0, static_cast<double>(number), static_cast<float>(number)};
      return of_whole(static_cast<int64_t>(number));
    }
    case arrow::Type::HALF_FLOAT:
      return of_real(from_half(at<arrow::HalfFloatArray>(array, row)));
    case arrow::Type::FLOAT:
      return of_real(at<arrow::FloatArray>(array, row));
    default:
      return of_real(at<arrow::DoubleArray>(array, row));
  }
}

template <class T>
bool put(T value, std::vector<std::byte>& to) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof value);
  return true;
}

template <class T>
bool put_whole(const Number& number, std::vector<std::byte>& to) {
  if (!number.is_whole || number.whole < std::numeric_limits<T>::min() ||
      number.whole > std::numeric_limits<T>::max())
    return false;
  return put(static_cast<T>(number.whole), to);
}

constexpr uint16_t kHalfInfinity = 0x7c00, kBfloatInfinity = 0x7f80;

}  // namespace

bool holds_numbers(const arrow::DataType& type) {
  return arrow::is_integer(type.id()) || arrow::is_floating(type.id()) || type.id() == arrow::Type::BOOL;
}

SampleType type_of_numbers(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return SampleType::kBool;
    case arrow::Type::INT8:
      return SampleType::kI8;
    case arrow::Type::INT16:
      return SampleType::kI16;
    case arrow::Type::INT32:
      return SampleType::kI32;
    case arrow::Type::UINT8:
      return SampleType::kU8;
    case arrow::Type::HALF_FLOAT:
      return SampleType::kF16;
    case arrow::Type::FLOAT:
      return SampleType::kF32;
    case arrow::Type::DOUBLE:
      return SampleType::kF64;
    default:
      return SampleType::kI64;
  }
}

bool put_number(const arrow::Array& array, int64_t row, SampleType type, std::vector<std::byte>& to) {
  const Number number = number_at(array, row);
  const float single = number.single;
  const bool is_finite = std::isfinite(number.real);
  switch (type) {
    case SampleType::kU8:
      return put_whole<uint8_t>(number, to);
    case SampleType::kI8:
      return put_whole<int8_t>(number, to);
    case SampleType::kI16:
      return put_whole<int16_t>(number, to);
    case SampleType::kI32:
      return put_whole<int32_t>(number, to);
    case SampleType::kI64:
      return put_whole<int64_t>(number, to);
    case SampleType::kBool:
      if (!number.is_whole || (number.whole != 0 && number.whole != 1)) return false;
      return put(static_cast<uint8_t>(number.whole), to);
    case SampleType::kF64:
      return put(number.real, to);
    case SampleType::kF32:
      return (!is_finite || std::isfinite(single)) && put(single, to);
    case SampleType::kF16: {
      const uint16_t half = to_half(single);
      return (!is_finite || (half & kHalfInfinity) != kHalfInfinity) && put(half, to);
    }
    case SampleType::kBF16: {
      const uint16_t half = to_bfloat(single);
      return (!is_finite || (half & kBfloatInfinity) != kBfloatInfinity) && put(half, to);
    }
  }
  return false;
}

}  // namespace shoal::flow
