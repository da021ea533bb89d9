// A row's columns as the numbers of one field of a sample (docs/data_engine.md, "Samples").
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/sample_manifest.h"
#include "flow/arrow.h"
#include "shoal/flow.h"

namespace shoal::flow {

/// What is said of one field, settled against the columns that there are. Immutable; any thread.
class SampleColumns {
 public:
  /// Throws InputError "place, field x: ..." where the columns cannot fill such a field.
  SampleColumns(const FlowField&, const arrow::Schema&, const std::string& place);

  /// The longest is not known.
  const data::SampleField& field() const { return field_; }
  void add_names(Names&) const;
  /// All that decides the bytes, on one line.
  std::string identity() const;

  /// Appends what the row has for the field, and gives its length: of the first dim, where that varies, else
  /// 0. Throws InputError "where, field x: got ..., want ..." for a row that does not fit.
  int64_t append(const arrow::RecordBatch&, int64_t row, const std::string& where,
                 std::vector<std::byte>& bytes) const;

 private:
  enum class Kind { kNumbers, kList, kBytes, kPixels, kClass };

  void settle_kind(const FlowField&, const arrow::DataType&);
  void settle_shape(const FlowField&, const arrow::DataType&, const std::string& place);
  [[noreturn]] void refuse(const std::string& where, const std::string& got_and_want) const;
  int64_t num_elements() const;  // of all dims that do not vary
  void append_number(const arrow::Array&, int64_t row, const std::string& where,
                     std::vector<std::byte>&) const;
  int64_t append_list(const arrow::Array&, int64_t row, const std::string& where,
                      std::vector<std::byte>&) const;
  int64_t append_bytes(const arrow::Array&, int64_t row, const std::string& where,
                       std::vector<std::byte>&) const;
  void append_pixels(const arrow::RecordBatch&, int64_t row, const std::string& where,
                     std::vector<std::byte>&) const;
  void append_class(const arrow::Array&, int64_t row, const std::string& where,
                    std::vector<std::byte>&) const;

  std::string place_;  // "p.toml - write, field x"
  Kind kind_ = Kind::kNumbers;
  data::SampleField field_;
  std::vector<std::string> names_;
  std::vector<int> columns_;       // where names_ are in a batch
  std::vector<int> size_columns_;  // of pixels: height, width, channels; empty where the rows do not say
  bool channels_first_ = false;
};

}  // namespace shoal::flow
