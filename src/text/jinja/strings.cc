// Strings by characters, and their methods, as Python has them.
#include <utf8proc.h>

#include <algorithm>

#include "base/text.h"
#include "text/jinja/run.h"
#include "text/jinja/value.h"
#include "text/utf8.h"

namespace shoal::text::jinja {
namespace {

std::string mapped(std::string_view text, int32_t (*map)(int32_t)) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    append_utf8(out, static_cast<char32_t>(map(static_cast<int32_t>(character.code))));
    at += character.bytes;
  }
  return out;
}

bool is_letter(char32_t code) {
  const auto category = utf8proc_category(static_cast<int32_t>(code));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

std::string title(std::string_view text) {
  std::string out;
  bool inside = false;  // of a word
  for (const auto character : characters(text)) {
    out += mapped(character, inside ? utf8proc_tolower : utf8proc_toupper);
    inside = is_letter(character_at(character, 0).code);
  }
  return out;
}

std::string capitalize(std::string_view text) {
  const auto all = characters(text);
  if (all.empty()) return "";
  return mapped(all[0], utf8proc_toupper) + mapped(text.substr(all[0].size()), utf8proc_tolower);
}

Value strings(const std::vector<std::string>& items) {
  List list;
  for (const auto& item : items) list.items.emplace_back(item);
  return list;
}

std::vector<std::string> split_at_spaces(const std::string& text, int64_t most) {
  std::vector<std::string> words;
  size_t at = 0;
  const auto skip = [&](bool spaces) {
    while (at < text.size() && is_space(character_at(text, at).code) == spaces)
      at += character_at(text, at).bytes;
  };
  for (skip(true); at < text.size(); skip(true)) {
    const size_t begin = at;
    if (most >= 0 && static_cast<int64_t>(words.size()) == most) {
      words.push_back(text.substr(begin));
      break;
    }
    skip(false);
    words.push_back(text.substr(begin, at - begin));
  }
  return words;
}

std::vector<std::string> split_at(const std::string& text, const std::string& separator, int64_t most,
                                  bool from_right) {
  if (separator.empty()) throw Problem("split: got an empty separator");
  std::vector<std::string> parts;
  size_t begin = 0, end = text.size();
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t found = from_right ? (end < separator.size() ? std::string::npos
                                                              : text.rfind(separator, end - separator.size()))
                                    : text.find(separator, begin);
    if (found == std::string::npos) break;
    if (from_right) {
      parts.push_back(text.substr(found + separator.size(), end - found - separator.size()));
      end = found;
    } else {
      parts.push_back(text.substr(begin, found - begin));
      begin = found + separator.size();
    }
  }
  parts.push_back(text.substr(begin, end - begin));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

Value split(const std::string& text, Arguments& given, bool from_right) {
  const Value separator = given.get(0, "sep", None{});
  const int64_t most = given.integer(1, "maxsplit", -1);
  if (separator.is_none()) {
    if (from_right && most >= 0) throw Problem("rsplit: got a limit without a separator, want both");
    return strings(split_at_spaces(text, most));
  }
  if (!separator.is_string())
    throw Problem(cat("split: got ", separator.type_name(), " as the separator, want a string"));
  return strings(split_at(text, separator.string(), most, from_right));
}

Value splitlines(const std::string& text, Arguments& given) {
  const bool keep = given.flag(0, "keepends", false);
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Character character = character_at(text, at);
    const size_t from = at;
    at += character.bytes;
    const char32_t c = character.code;
    if (!((c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029))
      continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep ? at : from) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return strings(lines);
}

bool has_end(const std::string& text, const Value& wanted, bool start) {
  const auto one = [&](const Value& end) {
    if (!end.is_string())
      throw Problem(cat("startswith, endswith: got ", end.type_name(), ", want a string or a tuple of them"));
    return start ? text.starts_with(end.string()) : text.ends_with(end.string());
  };
  if (!wanted.is_tuple()) return one(wanted);
  return std::any_of(wanted.list().begin(), wanted.list().end(), one);
}

Value replace(const std::string& text, Arguments& given) {
  const std::string from = given.text(0, "old"), to = given.text(1, "new");
  int64_t most = given.integer(2, "count", -1);
  std::string out;
  if (from.empty()) {
    for (const auto character : characters(text)) {
      if (most != 0) out += to, --most;
      out += character;
    }
    return most != 0 ? out + to : out;
  }
  size_t at = 0;
  for (size_t found = text.find(from); found != std::string::npos && most != 0;
       found = text.find(from, at), --most) {
    out.append(text, at, found - at) += to;
    at = found + from.size();
  }
  return out.append(text, at);
}

Value find(const std::string& text, Arguments& given, bool last, bool must) {
  const std::string& wanted = given.text(0, "sub");
  const size_t at = last ? text.rfind(wanted) : text.find(wanted);
  if (at == std::string::npos && must) throw Problem("index: got a text that is not in the string");
  return at == std::string::npos
             ? int64_t{-1}
             : static_cast<int64_t>(characters(std::string_view(text).substr(0, at)).size());
}

bool all_of(const std::string& text, bool (*is)(char32_t)) {
  const auto all = characters(text);
  return !all.empty() && std::all_of(all.begin(), all.end(),
                                     [&](std::string_view one) { return is(character_at(one, 0).code); });
}

bool is_digit(char32_t code) { return utf8proc_category(static_cast<int32_t>(code)) == UTF8PROC_CATEGORY_ND; }
bool is_letter_or_digit(char32_t code) { return is_letter(code) || is_digit(code); }

bool has_case(const std::string& text, bool upper) {
  bool any = false;
  for (const auto one : characters(text)) {
    const auto category = utf8proc_category(static_cast<int32_t>(character_at(one, 0).code));
    if (category == (upper ? UTF8PROC_CATEGORY_LL : UTF8PROC_CATEGORY_LU) || category == UTF8PROC_CATEGORY_LT)
      return false;
    any = any || category == (upper ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL);
  }
  return any;
}

Value count(const std::string& text, Arguments& given) {
  const std::string& wanted = given.text(0, "sub");
  if (wanted.empty()) return static_cast<int64_t>(characters(text).size()) + 1;
  return static_cast<int64_t>(split_at(text, wanted, -1, false).size()) - 1;
}

Value partition(const std::string& text, Arguments& given, bool last) {
  const auto parts = split_at(text, given.text(0, "sep"), 1, last);
  const Value separator = given.need(0, "sep");
  if (parts.size() == 2) return List{{parts[0], separator, parts[1]}, true};
  return last ? List{{"", "", text}, true} : List{{text, "", ""}, true};
}

Value stripped(const std::string& text, Arguments& given, bool left, bool right) {
  const Value set = given.get(0, "chars", None{});
  if (set.is_none()) return strip(text, nullptr, left, right);
  if (!set.is_string()) throw Problem(cat("strip: got ", set.type_name(), ", want a string of characters"));
  return strip(text, &set.string(), left, right);
}

using Method = Value (*)(const std::string&, Arguments&);
const std::pair<const char*, Method> kMethods[] = {
    {"strip", [](const std::string& t, Arguments& a) { return stripped(t, a, true, true); }},
    {"lstrip", [](const std::string& t, Arguments& a) { return stripped(t, a, true, false); }},
    {"rstrip", [](const std::string& t, Arguments& a) { return stripped(t, a, false, true); }},
    {"split", [](const std::string& t, Arguments& a) { return split(t, a, false); }},
    {"rsplit", [](const std::string& t, Arguments& a) { return split(t, a, true); }},
    {"splitlines", splitlines},
    {"startswith",
     [](const std::string& t, Arguments& a) -> Value { return has_end(t, a.need(0, "prefix"), true); }},
    {"endswith",
     [](const std::string& t, Arguments& a) -> Value { return has_end(t, a.need(0, "suffix"), false); }},
    {"removeprefix",
     [](const std::string& t, Arguments& a) -> Value {
       const auto& end = a.text(0, "prefix");
       return t.starts_with(end) ? t.substr(end.size()) : t;
     }},
    {"removesuffix",
     [](const std::string& t, Arguments& a) -> Value {
       const auto& end = a.text(0, "suffix");
       return t.ends_with(end) ? t.substr(0, t.size() - end.size()) : t;
     }},
    {"replace", replace},
    {"find", [](const std::string& t, Arguments& a) { return find(t, a, false, false); }},
    {"rfind", [](const std::string& t, Arguments& a) { return find(t, a, true, false); }},
    {"index", [](const std::string& t, Arguments& a) { return find(t, a, false, true); }},
    {"count", count},
    {"partition", [](const std::string& t, Arguments& a) { return partition(t, a, false); }},
    {"rpartition", [](const std::string& t, Arguments& a) { return partition(t, a, true); }},
    {"upper", [](const std::string& t, Arguments&) -> Value { return mapped(t, utf8proc_toupper); }},
    {"lower", [](const std::string& t, Arguments&) -> Value { return mapped(t, utf8proc_tolower); }},
    {"title", [](const std::string& t, Arguments&) -> Value { return title(t); }},
    {"capitalize", [](const std::string& t, Arguments&) -> Value { return capitalize(t); }},
    {"isdigit", [](const std::string& t, Arguments&) -> Value { return all_of(t, is_digit); }},
    {"isalpha", [](const std::string& t, Arguments&) -> Value { return all_of(t, is_letter); }},
    {"isalnum", [](const std::string& t, Arguments&) -> Value { return all_of(t, is_letter_or_digit); }},
    {"isspace", [](const std::string& t, Arguments&) -> Value { return all_of(t, is_space); }},
    {"isupper", [](const std::string& t, Arguments&) -> Value { return has_case(t, true); }},
    {"islower", [](const std::string& t, Arguments&) -> Value { return has_case(t, false); }},
    {"join",
     [](const std::string& t, Arguments& a) -> Value {
       std::string out;
       bool first = true;
       for (const Value& item : items_of(a.need(0, "iterable"))) {
         if (!item.is_string()) throw Problem(cat("join: got ", item.type_name(), ", want strings"));
         if (!first) out += t;
         out += item.string();
         first = false;
       }
       return out;
     }},
};

}  // namespace

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> all;
  for (size_t at = 0; at < text.size(); at += all.back().size())
    all.push_back(text.substr(at, character_at(text, at).bytes));
  return all;
}

bool is_space(char32_t c) {
  return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string strip(std::string_view text, const std::string* set, bool left, bool right) {
  const auto goes = [&](std::string_view character) {
    if (set == nullptr) return is_space(character_at(character, 0).code);
    const auto all = characters(*set);
    return std::find(all.begin(), all.end(), character) != all.end();
  };
  const auto all = characters(text);
  size_t begin = 0, end = all.size();
  while (left && begin < end && goes(all[begin])) ++begin;
  while (right && end > begin && goes(all[end - 1])) --end;
  std::string out;
  for (size_t i = begin; i < end; ++i) out += all[i];
  return out;
}

Value string_method(const std::string& text, const std::string& name) {
  for (const auto& [known, method] : kMethods)
    if (name == known)
      return function(name, [text, call = method](Run&, Arguments& given) { return call(text, given); });
  return {};
}

}  // namespace shoal::text::jinja
