// Numbers of a column as those of a sample.
#include "flow/numbers.h"

#include <arrow/builder.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "flow/arrow.h"

namespace shoal::flow {
namespace {

using data::SampleType;

template <class Builder, class T>
ArrayPtr array_of(const T& one) {
  Builder builder;
  require(builder.Append(one), "test");
  return value(builder.Finish(), "test");
}

/// What put_number() makes of a number, and whether it takes it.
template <class T>
std::optional<T> put(const ArrayPtr& array, SampleType type) {
  std::vector<std::byte> bytes;
  if (!put_number(*array, 0, type, bytes)) {
    EXPECT_TRUE(bytes.empty());
    return std::nullopt;
  }
  EXPECT_EQ(bytes.size(), sizeof(T));
  T number;
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

TEST(SampleNumbers, AreRoundedOnceAndNeverCutOff) {
  const auto whole = [](int64_t n) { return array_of<arrow::Int64Builder, int64_t>(n); };
  const auto real = [](double n) { return array_of<arrow::DoubleBuilder, double>(n); };
  const auto large = [](uint64_t n) { return array_of<arrow::UInt64Builder, uint64_t>(n); };
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(put<uint8_t>(whole(255), SampleType::kU8), 255);
  EXPECT_EQ(put<uint8_t>(whole(256), SampleType::kU8), std::nullopt);
  EXPECT_EQ(put<uint8_t>(whole(-1), SampleType::kU8), std::nullopt);
  EXPECT_EQ(put<uint8_t>(real(7.0), SampleType::kU8), 7);
  EXPECT_EQ(put<uint8_t>(real(7.5), SampleType::kU8), std::nullopt);
  EXPECT_EQ(put<int8_t>(whole(-128), SampleType::kI8), -128);
  EXPECT_EQ(put<int8_t>(whole(-129), SampleType::kI8), std::nullopt);
  EXPECT_EQ(put<int16_t>(whole(32768), SampleType::kI16), std::nullopt);
  EXPECT_EQ(put<int32_t>(real(-2147483648.0), SampleType::kI32), INT32_MIN);
  EXPECT_EQ(put<int64_t>(real(0x1p63), SampleType::kI64), std::nullopt);
  EXPECT_EQ(put<int64_t>(real(-0x1p63), SampleType::kI64), INT64_MIN);
  EXPECT_EQ(put<int64_t>(real(std::nan("")), SampleType::kI64), std::nullopt);
  EXPECT_EQ(put<int64_t>(large(uint64_t{1} << 63), SampleType::kI64), std::nullopt);
  EXPECT_EQ(put<int64_t>(large(INT64_MAX), SampleType::kI64), INT64_MAX);
  EXPECT_EQ(put<float>(large(uint64_t{1} << 63), SampleType::kF32), 0x1p63F);
  EXPECT_EQ(put<uint8_t>(whole(1), SampleType::kBool), 1);
  EXPECT_EQ(put<uint8_t>(whole(2), SampleType::kBool), std::nullopt);
  EXPECT_EQ(put<float>(real(0.1), SampleType::kF32), 0.1F);
  EXPECT_EQ(put<float>(real(1e39), SampleType::kF32), std::nullopt);
  EXPECT_EQ(put<float>(real(infinity), SampleType::kF32), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(*put<float>(real(std::nan("")), SampleType::kF32)));
  EXPECT_TRUE(std::signbit(*put<float>(real(-0.0), SampleType::kF32)));
  // By way of 53 bits this one would be rounded twice: down to a tie, then down again.
  EXPECT_EQ(put<float>(whole((int64_t{1} << 60) + (int64_t{1} << 36) + 1), SampleType::kF32), 0x1.000002p60F);
  EXPECT_EQ(put<uint16_t>(real(65519.0), SampleType::kF16), to_half(65504.0F));
  EXPECT_EQ(put<uint16_t>(real(65520.0), SampleType::kF16), std::nullopt);
  EXPECT_EQ(put<uint16_t>(real(1.5), SampleType::kBF16), to_bfloat(1.5F));
  EXPECT_EQ(put<uint16_t>(real(3.4e38), SampleType::kBF16), std::nullopt);
  EXPECT_EQ(put<double>(whole(3), SampleType::kF64), 3.0);
  EXPECT_EQ(put<float>(array_of<arrow::BooleanBuilder, bool>(true), SampleType::kF32), 1.0F);
  EXPECT_EQ(put<float>(array_of<arrow::HalfFloatBuilder, uint16_t>(to_half(-2.5F)), SampleType::kF32), -2.5F);
}

}  // namespace
}  // namespace shoal::flow
