#include "flow/records.h"

#include <arrow/util/utf8.h>

#include <cctype>
#include <cstdint>
#include <cstdio>

#include "base/text.h"

namespace shoal::flow {
namespace {

void append_utf8(std::string& out, uint32_t point) {
  if (point < 0x80) {
    out.push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out.push_back(static_cast<char>(0xC0 | point >> 6));
    out.push_back(static_cast<char>(0x80 | (point & 0x3F)));
  } else if (point < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | point >> 12));
    out.push_back(static_cast<char>(0x80 | (point >> 6 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (point & 0x3F)));
  } else {
    out.push_back(static_cast<char>(0xF0 | point >> 18));
    out.push_back(static_cast<char>(0x80 | (point >> 12 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (point >> 6 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (point & 0x3F)));
  }
}

/// A scanner of one line of JSON.
class Json {
 public:
  explicit Json(std::string_view text) : text_(text) {}

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool at_end() {
    skip_space();
    return at_ == text_.size();
  }
  size_t at() const { return at_; }

  bool hex4(uint32_t& unit) {
    if (at_ + 4 > text_.size()) return false;
    unit = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      if (!std::isxdigit(static_cast<unsigned char>(c))) return false;
      unit = unit << 4 | static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return true;
  }

  /// A text in quotes.
  bool text(Cell& cell) {
    cell.is_null = cell.is_unescaped = false;
    cell.is_quoted = true;
    if (!take('"')) return false;
    while (true) {
      const size_t begin = at_, stop = text_.find_first_of("\"\\", at_);
      if (stop == std::string_view::npos) return false;
      const std::string_view plain = text_.substr(begin, stop - begin);
      at_ = stop + 1;
      const bool ends = text_[stop] == '"';
      if (ends && !cell.is_unescaped) {
        cell.in_line = plain;
        return true;
      }
      if (!cell.is_unescaped) cell.unescaped.clear();
      cell.is_unescaped = true;
      cell.unescaped.append(plain);
      if (ends) return true;
      if (at_ >= text_.size() || !escape(cell.unescaped)) return false;
    }
  }

  bool escape(std::string& out) {
    const char c = text_[at_++];
    static constexpr std::string_view kNames = "\"\\/bfnrt", kMeans = "\"\\/\b\f\n\r\t";
    if (const size_t known = kNames.find(c); known != std::string_view::npos) {
      out.push_back(kMeans[known]);
      return true;
    }
    uint32_t unit = 0;
    if (c != 'u' || !hex4(unit)) return false;
    if (unit >= 0xD800 && unit < 0xDC00) {  // the first of a pair
      uint32_t low = 0;
      if (at_ + 2 > text_.size() || text_[at_] != '\\' || text_[at_ + 1] != 'u') return false;
      at_ += 2;
      if (!hex4(low) || low < 0xDC00 || low > 0xDFFF) return false;
      unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    } else if (unit >= 0xDC00 && unit < 0xE000) {
      return false;
    }
    append_utf8(out, unit);
    return true;
  }

  bool any(Cell& cell) {
    skip_space();
    cell.is_null = cell.is_quoted = cell.is_unescaped = false;
    if (at_ >= text_.size()) return false;
    const char c = text_[at_];
    if (c == '"') return text(cell);
    const size_t begin = at_;
    if (c == '{' || c == '[') {
      if (!skip_nested()) return false;
      cell.is_quoted = true;
    } else {
      while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) ||
                                    text_[at_] == '+' || text_[at_] == '-' || text_[at_] == '.'))
        ++at_;
    }
    cell.in_line = text_.substr(begin, at_ - begin);
    cell.is_null = cell.in_line == "null";
    return at_ > begin;
  }

 private:
  bool skip_nested() {
    std::string open;
    Cell unused;
    do {
      skip_space();
      if (at_ >= text_.size()) return false;
      const char c = text_[at_];
      if (c == '"') {
        if (!text(unused)) return false;
        continue;
      }
      ++at_;
      if (c == '{' || c == '[') open.push_back(c);
      if (c == '}' || c == ']') {
        if (open.empty() || open.back() != (c == '}' ? '{' : '[')) return false;
        open.pop_back();
      }
    } while (!open.empty());
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string split_csv(std::string_view line, char separator, std::vector<Cell>& cells, size_t& num_cells) {
  num_cells = 0;
  size_t at = 0;
  while (true) {
    if (num_cells == cells.size()) cells.emplace_back();
    Cell& cell = cells[num_cells++];
    cell.is_quoted = at < line.size() && line[at] == '"';
    cell.is_null = cell.is_unescaped = false;
    if (cell.is_quoted) {
      ++at;
      while (true) {
        const size_t begin = at, quote = line.find('"', at);
        if (quote == std::string_view::npos) return "a quote is not closed on its line";
        at = quote + 1;
        const bool ends = at >= line.size() || line[at] != '"';  // else two stand for one
        const std::string_view plain = line.substr(begin, quote + (ends ? 0 : 1) - begin);
        if (ends && !cell.is_unescaped) {
          cell.in_line = plain;
          break;
        }
        if (!cell.is_unescaped) cell.unescaped.clear();
        cell.is_unescaped = true;
        cell.unescaped.append(plain);
        if (ends) break;
        ++at;
      }
      if (at < line.size() && line[at] != separator) return "text after a closed quote";
    } else {
      size_t end = line.find(separator, at);
      if (end == std::string_view::npos) end = line.size();
      cell.in_line = line.substr(at, end - at);
      cell.is_null = end == at;
      at = end;
    }
    if (at >= line.size()) return "";
    ++at;
  }
}

std::string split_json(std::string_view line, std::vector<Member>& members, size_t& num_members) {
  Json json(line);
  num_members = 0;
  if (!json.take('{')) return "not a JSON object";
  if (!json.take('}')) {
    do {
      if (num_members == members.size()) members.emplace_back();
      auto& [name, cell] = members[num_members++];
      json.skip_space();
      if (!json.text(name) || !json.take(':') || !json.any(cell))
        return cat("not JSON at byte ", json.at() + 1);
    } while (json.take(','));
    if (!json.take('}')) return cat("not JSON at byte ", json.at() + 1);
  }
  return json.at_end() ? "" : "text after the object";
}

void append_json_text(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char escaped[8];
          std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
          out += escaped;
        } else {
          out.push_back(c);
        }
    }
  }
  out.push_back('"');
}

bool is_utf8(std::string_view text) {
  [[maybe_unused]] static const bool kIsReady = (arrow::util::InitializeUTF8(), true);
  return arrow::util::ValidateUTF8(reinterpret_cast<const uint8_t*>(text.data()),
                                   static_cast<int64_t>(text.size()));
}

}  // namespace shoal::flow
