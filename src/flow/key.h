// Keys as bytes: the columns of a row become one text, and comparing two such texts with memcmp compares the
// rows. All that sorts, groups, joins or cuts does it by these, so there is one order in all of flow:
//   numbers by value, -0 = 0, NaN above all numbers and equal to itself; false before true; text by its
//   bytes; null last, also descending.
#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flow/arrow.h"

namespace shoal::flow {

/// The key of a null.
inline constexpr std::string_view kNullKey = "\x02";

inline constexpr size_t kPlaceBytes = 8;

/// A row's place as the end of a key.
std::string place_bytes(int64_t place);

struct KeyColumn {
  std::string name;
  bool descending = false;
};

/// Numbers as bits whose order is theirs.
inline uint64_t order_bits(int64_t number) { return static_cast<uint64_t>(number) ^ (uint64_t{1} << 63); }
inline uint64_t order_bits(double number) {
  if (std::isnan(number)) number = std::numeric_limits<double>::quiet_NaN();
  if (number == 0) number = 0;
  const uint64_t bits = std::bit_cast<uint64_t>(number);
  return bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
}
/// The numbers of such bits.
inline int64_t whole_of_bits(uint64_t bits) { return static_cast<int64_t>(bits ^ (uint64_t{1} << 63)); }
inline double real_of_bits(uint64_t bits) {
  return std::bit_cast<double>(bits >> 63 ? bits & ~(uint64_t{1} << 63) : ~bits);
}

/// "-x": x, descending.
std::vector<KeyColumn> key_columns(const std::vector<std::string>& names);

/// The keys of the rows of one batch.
class Keys {
 public:
  int64_t size() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  std::string_view operator[](int64_t row) const {
    const size_t i = static_cast<size_t>(row);
    return {bytes_.get() + offsets_[i], offsets_[i + 1] - offsets_[i]};
  }
  int64_t bytes() const { return static_cast<int64_t>(offsets_.back()); }
  bool has_null(int64_t row) const { return has_null_[static_cast<size_t>(row)] != 0; }

 private:
  friend class KeyEncoder;
  std::unique_ptr<char[]> bytes_;  // stays where it is when the Keys move
  std::vector<size_t> offsets_ = {0};
  std::vector<char> has_null_;
};

/// Immutable; any thread.
class KeyEncoder {
 public:
  /// Throws InputError "place: ..." for a column that is not there or whose type has no order here.
  KeyEncoder(SchemaPtr schema, const std::vector<KeyColumn>& columns, const std::string& place);
  /// With `first_place` each key ends in its row's place, kPlaceBytes that compare as a number; the first
  /// row's is this one. With it no two keys are equal.
  Keys encode(const arrow::RecordBatch&, std::optional<int64_t> first_place = {}) const;
  /// What each column's values are compared as: keys of two tables can be compared where these are equal.
  std::vector<std::string> kinds() const;
  const std::vector<int>& columns() const { return columns_; }
  void add_names(Names&) const;
  int num_columns() const { return static_cast<int>(columns_.size()); }
  /// The values that keys were made of (-0 as 0). What stands behind the columns in a key is left alone.
  /// REQUIRES: none descends.
  std::vector<ArrayPtr> decode(const std::vector<std::string_view>& keys) const;
  /// How long the first columns of a key are.
  size_t prefix_length(std::string_view key, int num_columns) const;

 private:
  SchemaPtr schema_;
  std::vector<int> columns_;
  std::vector<bool> descending_;
};

}  // namespace shoal::flow
