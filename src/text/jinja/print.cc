// Values as Python prints them: str(), repr(), json.dumps().
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "text/jinja/value.h"
#include "text/utf8.h"

namespace shoal::text::jinja {
namespace {

constexpr size_t kLongest = size_t{16} << 20;

// What holds the same list many times, over and over, is short until it is printed.
void check_length(const std::string& text) {
  if (text.size() > kLongest)
    throw Problem(cat("got a value that is longer than ", human_bytes(kLongest), " in print"));
}

std::string hexadecimal(char32_t code, int digits) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (int i = digits - 1; i >= 0; --i) text += kDigits[code >> (4 * i) & 15];
  return text;
}

bool printable(char32_t code) {
  if (code == ' ') return true;
  switch (utf8proc_category(static_cast<int32_t>(code))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string quoted(const std::string& text) {
  const bool single = text.find('\'') == std::string::npos || text.find('"') != std::string::npos;
  const char quote = single ? '\'' : '"';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    const char32_t code = character.code;
    if (code == '\n')
      out += "\\n";
    else if (code == '\r')
      out += "\\r";
    else if (code == '\t')
      out += "\\t";
    else if (code == '\\' || code == static_cast<char32_t>(quote))
      (out += '\\') += static_cast<char>(code);
    else if (printable(code))
      append_utf8(out, code);
    else
      out += code < 0x100     ? "\\x" + hexadecimal(code, 2)
             : code < 0x10000 ? "\\u" + hexadecimal(code, 4)
                              : "\\U" + hexadecimal(code, 8);
    at += character.bytes;
  }
  return out + quote;
}

std::string repr_at(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_string()) return quoted(value.string());
  std::string out;
  if (value.is_list()) {
    const bool tuple = value.is_tuple();
    for (const Value& item : value.list()) {
      (out += out.empty() ? "" : ", ") += repr_at(item);
      check_length(out);
    }
    if (tuple && value.list().size() == 1) out += ',';
    return tuple ? "(" + out + ")" : "[" + out + "]";
  }
  if (value.is_dict()) {
    for (const auto& [key, item] : value.dict().entries) {
      check_length(out);
      (out += out.empty() ? "" : ", ") += repr_at(key) + ": " + repr_at(item);
    }
    return "{" + out + "}";
  }
  return to_string(value);
}

/// Writes JSON as it goes, so that nothing is copied at every level.
class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}
  std::string out;

  void write(const Value& value, int depth) {
    check_length(out);
    if (value.is_none())
      out += "null";
    else if (value.is<bool>())
      out += value.truth() ? "true" : "false";
    else if (value.is<double>())
      out += json_number(value.number());
    else if (value.is_integer())
      out += std::to_string(value.integer());
    else if (value.is_string())
      write_string(value.string());
    else if (value.is_list())
      write_list(value.list(), depth);
    else if (value.is_dict())
      write_dict(value.dict(), depth);
    else
      throw Problem(cat("tojson: got ", value.type_name(), ", which JSON does not have"));
  }

 private:
  static std::string json_number(double number) {
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return number_text(number);
  }

  void write_string(const std::string& text) {
    out += '"';
    for (size_t at = 0; at < text.size();) {
      const Character character = character_at(text, at);
      const char32_t code = character.code;
      at += character.bytes;
      if (code == '"' || code == '\\')
        (out += '\\') += static_cast<char>(code);
      else if (code == '\n')
        out += "\\n";
      else if (code == '\r')
        out += "\\r";
      else if (code == '\t')
        out += "\\t";
      else if (code == '\b')
        out += "\\b";
      else if (code == '\f')
        out += "\\f";
      else if (code < 0x20 || (style_.ascii && code >= 0x7F && code < 0x10000 && code != 0x7F))
        out += "\\u" + hexadecimal(code, 4);
      else if (style_.ascii && code >= 0x10000)
        out += "\\u" + hexadecimal(0xD800 + ((code - 0x10000) >> 10), 4) + "\\u" +
               hexadecimal(0xDC00 + (code & 0x3FF), 4);
      else
        append_utf8(out, code);
    }
    out += '"';
  }

  void new_line(int depth) {
    if (style_.indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(style_.indent) * depth, ' ');
  }

  void write_list(const std::vector<Value>& items, int depth) {
    if (items.empty()) return void(out += "[]");
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line(depth + 1);
      write(items[i], depth + 1);
    }
    new_line(depth);
    out += ']';
  }

  void write_dict(const Dict& dict, int depth) {
    if (dict.entries.empty()) return void(out += "{}");
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(),
                       [](const auto* a, const auto* b) { return compare(a->first, b->first) < 0; });
    out += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line(depth + 1);
      const Value& key = entries[i]->first;
      if (key.is_string())
        write_string(key.string());
      else
        (out += '"') += to_json(key, {}) + '"';
      out += style_.key_separator;
      write(entries[i]->second, depth + 1);
    }
    new_line(depth);
    out += '}';
  }

  const JsonStyle& style_;
};

}  // namespace

std::string number_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  std::array<char, 64> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::scientific).ptr;
  const std::string shortest(buffer.data(), end);  // d.ddde+xx
  const int exponent = std::stoi(shortest.substr(shortest.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return shortest;
  const auto fixed =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::fixed).ptr;
  const std::string text(buffer.data(), fixed);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

std::string to_string(const Value& value) {
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (value.is<bool>()) return value.truth() ? "True" : "False";
  if (value.is<double>()) return number_text(value.number());
  if (value.is_integer()) return std::to_string(value.integer());
  if (value.is_string()) return value.string();
  if (value.is_list() || value.is_dict()) return repr_at(value);
  throw Problem(cat("got ", value.type_name(), " to print, want a value"));
}

std::string repr(const Value& value) { return repr_at(value); }

std::string to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace shoal::text::jinja
