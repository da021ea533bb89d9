#include "text/grammar/pattern.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "shoal/error.h"
#include "text/utf8.h"

namespace shoal::text::grammar {
namespace {

constexpr int64_t kMostRepeats = 1000, kMostElements = 100'000;
constexpr int kDeepest = 100;

class Pattern {
 public:
  Pattern(const std::string& text, Rules& rules, JsonRules& json, const std::string& place)
      : text_(text), rules_(rules), json_(json), place_(place) {}

  Element rules() {
    const bool from_start = take('^');
    const std::vector<Sequence> all = alternatives();
    const bool to_end = take('$');
    if (at_ < text_.size()) fail("the end of the expression");
    if (all.size() > 1 && (from_start || to_end))
      fail("(...) around alternatives between ^ and $");  // ^a|b$ is (^a)|(b$)
    const Element anything = rules_.repeated(json_.character(), 0, -1);
    Sequence sequence;
    if (!from_start) sequence.push_back(anything);
    sequence.push_back(rules_.one_of(all));
    if (!to_end) sequence.push_back(anything);
    return rules_.one_of({sequence});
  }

 private:
  [[noreturn]] void fail(const std::string& want) const {
    throw InputError(cat(place_, ": got '", text_, "', want ", want, " at character ", at_ + 1,
                         "; only simple expressions are supported"));
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::vector<Sequence> alternatives() {
    if (++depth_ > kDeepest) fail(cat("groups that nest no deeper than ", kDeepest));
    std::vector<Sequence> all = {sequence()};
    while (take('|')) all.push_back(sequence());
    --depth_;
    return all;
  }

  Sequence sequence() {
    Sequence sequence;
    while (at_ < text_.size() && text_[at_] != '|' && text_[at_] != ')' && text_[at_] != '$')
      sequence.push_back(repeat(atom()));
    return sequence;
  }

  Element repeat(Element one) {
    int64_t least = 1, most = 1;
    if (take('*'))
      least = 0, most = -1;
    else if (take('+'))
      most = -1;
    else if (take('?'))
      least = 0;
    else if (take('{')) {
      least = most = number();
      if (take(',')) most = at_ < text_.size() && text_[at_] != '}' ? number() : -1;
      if (!take('}') || (most >= 0 && most < least)) fail("{n}, {n,} or {n,m} with n <= m");
    } else {
      return one;
    }
    if (at_ < text_.size() && std::string("*+?{").find(text_[at_]) != std::string::npos)
      fail("no second repetition");
    elements_ += std::max(least, most);
    if (elements_ > kMostElements) fail("fewer repetitions");
    return rules_.repeated(one, least, most);
  }

  int64_t number() {
    int64_t value = 0;
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && value <= kMostRepeats)
      value = 10 * value + (text_[at_++] - '0');
    if (at_ == begin || value > kMostRepeats) fail(cat("a number up to ", kMostRepeats));
    return value;
  }

  Element atom() {
    if (take('(')) {
      if (take('?') && !take(':')) fail("a group without special meaning");
      const Element group = rules_.one_of(alternatives());
      if (!take(')')) fail("')'");
      return group;
    }
    if (take('.')) return of_string({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}, true);
    if (take('[')) {
      const bool negated = take('^');
      std::vector<Range> ranges;
      while (at_ < text_.size() && text_[at_] != ']') add_range(ranges);
      if (!take(']')) fail("']'");
      return of_string(std::move(ranges), negated);
    }
    std::vector<Range> ranges;
    if (std::string("*+?{}])^$|").find(text_[at_]) != std::string::npos) fail("a character or a group");
    const bool negated = escape_class(ranges);
    if (negated || !ranges.empty()) return of_string(std::move(ranges), negated);
    const char32_t code = character();
    std::string one;
    append_utf8(one, code);
    const std::string written = nlohmann::json(one).dump();  // as it stands in a string
    return rules_.one_of({rules_.text(written.substr(1, written.size() - 2))});
  }

  /// Characters that a string has as they are; others of the class would be escapes, and are left out.
  Element of_string(std::vector<Range> ranges, bool negated) {
    const std::vector<Range> escaped = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}, {0x7F, 0x7F}};
    if (negated) {
      ranges.insert(ranges.end(), escaped.begin(), escaped.end());
      return rules_.characters(std::move(ranges), true);
    }
    std::vector<Range> plain;
    for (auto [first, last] : ranges)
      for (const auto& [from, to] :
           {Range{0x20, '"' - 1}, Range{'"' + 1, '\\' - 1}, Range{'\\' + 1, 0x7E}, Range{0x80, 0x10FFFF}})
        if (std::max(first, from) <= std::min(last, to))
          plain.emplace_back(std::max(first, from), std::min(last, to));
    if (plain.empty()) fail("a class with characters that need no escape in JSON");
    return rules_.characters(std::move(plain), false);
  }

  /// \d, \w, \s: adds their ranges. \D, \W, \S: the same, and true.
  bool escape_class(std::vector<Range>& ranges) {
    if (at_ + 1 >= text_.size() || text_[at_] != '\\') return false;
    const char c = text_[at_ + 1], small = static_cast<char>(c | 0x20);
    if (small == 'd' && (c == 'd' || c == 'D'))
      ranges.emplace_back('0', '9');
    else if (c == 'w' || c == 'W')
      ranges.insert(ranges.end(), {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
    else if (c == 's' || c == 'S')
      ranges.insert(ranges.end(), {{9, 13},
                                   {' ', ' '},
                                   {0xA0, 0xA0},
                                   {0x1680, 0x1680},
                                   {0x2000, 0x200A},
                                   {0x2028, 0x2029},
                                   {0x202F, 0x202F},
                                   {0x205F, 0x205F},
                                   {0x3000, 0x3000},
                                   {0xFEFF, 0xFEFF}});
    else
      return false;
    at_ += 2;
    return c != small;
  }

  void add_range(std::vector<Range>& ranges) {
    const size_t before = ranges.size();
    if (escape_class(ranges)) fail("no negated class inside of a class");
    if (ranges.size() > before) return;
    const char32_t first = character();
    char32_t last = first;
    if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
      ++at_;
      last = character();
    }
    if (last < first) fail("a range that ascends");
    ranges.emplace_back(first, last);
  }

  char32_t character() {
    if (text_[at_] != '\\') {
      const Character one = character_at(text_, at_);
      at_ += one.bytes;
      return one.code;
    }
    if (++at_ >= text_.size()) fail("an escape");
    const char c = text_[at_++];
    constexpr std::string_view kFrom = "nrtfv", kTo = "\n\r\t\f\v";
    if (const size_t known = kFrom.find(c); known != std::string_view::npos)
      return static_cast<unsigned char>(kTo[known]);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        static_cast<unsigned char>(c) >= 0x80;
    if (!letter) return static_cast<unsigned char>(c);
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 0;
    char32_t code = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      if (at_ >= text_.size() || !std::isxdigit(static_cast<unsigned char>(text_[at_])))
        fail("hexadecimal digits");
      const char d = text_[at_];
      code = 16 * code + (d <= '9' ? d - '0' : (d | 32) - 'a' + 10);
    }
    if (digits == 0 || (code >= 0xD800 && code <= 0xDFFF)) fail("an escape that is known");
    return code;
  }

  const std::string& text_;
  Rules& rules_;
  JsonRules& json_;
  const std::string& place_;
  size_t at_ = 0;
  int depth_ = 0;
  int64_t elements_ = 0;
};

}  // namespace

Element pattern_rules(const std::string& pattern, Rules& rules, JsonRules& json, const std::string& place) {
  return Pattern(pattern, rules, json, place).rules();
}

}  // namespace shoal::text::grammar
