// One record of a text format: split into cells, or refused with a reason.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shoal::flow {

/// A cell of CSV, or a name or value of a JSON object. Valid as long as its line is.
struct Cell {
  std::string_view in_line;
  std::string unescaped;   // where what is meant does not stand in the line so
  bool is_unescaped = false;
  bool is_null = false;    // nothing between the separators, without quotes; JSON's null
  bool is_quoted = false;  // text in quotes

  std::string_view text() const { return is_unescaped ? unescaped : in_line; }
};
struct Member {
  Cell name, value;
};

/// The cells of a line of CSV (RFC 4180; a quoted cell ends on its line). Returns what is wrong, or "".
/// Reuses the cells' memory.
std::string split_csv(std::string_view line, char separator, std::vector<Cell>& cells, size_t& num_cells);

/// The members of a JSON object on one line; objects and arrays inside stay as their text. Returns what is
/// wrong, or "". The same.
std::string split_json(std::string_view line, std::vector<Member>& members, size_t& num_members);

/// Text as JSON writes it, with its quotes.
void append_json_text(std::string& out, std::string_view text);

/// Whether the bytes are UTF-8.
bool is_utf8(std::string_view text);

}  // namespace shoal::flow
