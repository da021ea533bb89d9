// Rows from text, a cell at a time: a row is whole or not there, whatever its format.
#pragma once

#include <arrow/api.h>

#include <string>
#include <string_view>
#include <vector>

#include "flow/arrow.h"

namespace shoal::flow {

enum class CellType { kInt, kFloat, kBool, kText };

/// Throws InputError "place: ..." for a word that is no type.
CellType cell_type(const std::string& word, const std::string& place);
std::shared_ptr<arrow::DataType> arrow_type(CellType);
CellType cell_type(const arrow::DataType&);
/// "a whole number", for messages.
const char* wanted(CellType);

/// Whether the text is one of the type. Of kInt and kFloat all of it: " 1" is none.
bool parse_cell(std::string_view text, int64_t& whole);
bool parse_cell(std::string_view text, double& real);
bool parse_cell(std::string_view text, bool& truth);
bool is_of_type(std::string_view text, CellType);

class RowBuilder {
 public:
  explicit RowBuilder(SchemaPtr schema);

  /// Cells of the row at hand; a cell that is not set is null. False: the text is not of the column's type.
  bool set(int column, std::string_view text);
  void set_text(int column, std::string_view text) {
    Cell& cell = cells_[static_cast<size_t>(column)];
    cell.is_set = true;
    cell.text.assign(text);
  }
  bool is_set(int column) const { return cells_[static_cast<size_t>(column)].is_set; }
  void clear();
  /// The row is one of the batch.
  void commit();
  int64_t num_rows() const { return rows_; }
  int64_t bytes() const { return bytes_; }
  bool full() const { return rows_ >= 16'384 || bytes_ >= (int64_t{1} << 22); }
  /// All rows committed since the last one.
  Batch finish();

 private:
  struct Cell {
    bool is_set = false;
    int64_t whole = 0;
    double real = 0;
    std::string text;
  };
  void reserve();

  SchemaPtr schema_;
  std::vector<CellType> types_;
  std::vector<Cell> cells_;
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders_;
  int64_t rows_ = 0, bytes_ = 0;
};

}  // namespace shoal::flow
