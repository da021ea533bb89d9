// GBNF, llama.cpp's notation of grammars: name ::= alternatives, with "text", [classes], ., (groups), * + ?
// {n,m}.
#include <algorithm>
#include <cctype>
#include <map>

#include "base/text.h"
#include "shoal/error.h"
#include "text/constraint.h"
#include "text/grammar/automaton.h"
#include "text/grammar/rules.h"
#include "text/utf8.h"

namespace shoal::text {
namespace {

using grammar::Element;
using grammar::Range;
using grammar::Rules;
using grammar::Sequence;

constexpr int64_t kMostRepeats = 10'000, kMostElements = 100'000;
constexpr int kDeepest = 200;

class GbnfParser {
 public:
  explicit GbnfParser(const std::string& text) : text_(text) {}

  std::shared_ptr<const Grammar> parse(const Tokenizer& tokenizer) {
    for (skip(true); at_ < text_.size(); skip(true)) {
      const std::string name = this->name();
      const int32_t rule = rule_of(name);
      skip(true);
      if (!take("::=")) fail("'::=' behind the name of a rule");
      skip(true);
      if (!rules_.alternatives()[rule].empty()) fail(cat("one definition of '", name, "'"));
      for (auto& sequence : alternatives(false)) rules_.add_alternative(rule, std::move(sequence));
      if (at_ < text_.size() && text_[at_] != '\n') fail("the end of the line, or '|'");
    }
    for (const auto& [name, rule] : rule_of_)
      if (rules_.alternatives()[rule].empty())
        throw InputError(cat("grammar - rule '", name, "': got no definition, want one"));
    const auto root = rule_of_.find("root");
    if (root == rule_of_.end())
      throw InputError("grammar - rules: got none named 'root', want one, with which an answer begins");
    return std::make_shared<grammar::Automaton>(rules_, root->second, names_, tokenizer, "grammar");
  }

 private:
  [[noreturn]] void fail(const std::string& want) const {
    const auto line = 1 + std::count(text_.begin(),
                                     text_.begin() + static_cast<int64_t>(std::min(at_, text_.size())), '\n');
    const std::string got = at_ < text_.size()
                                ? "'" + text_.substr(at_, text_.find('\n', at_) - at_).substr(0, 20) + "'"
                                : "the end";
    throw InputError(cat("grammar - line ", line, ": got ", got, ", want ", want));
  }

  /// Over spaces and comments, and over ends of lines where they mean nothing.
  void skip(bool lines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#')
        at_ = std::min(text_.find('\n', at_), text_.size());
      else if (c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n'))
        ++at_;
      else
        return;
    }
  }
  bool take(std::string_view word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  bool at_name() const {
    return at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '-' || text_[at_] == '_');
  }
  std::string name() {
    const size_t begin = at_;
    while (at_name()) ++at_;
    if (at_ == begin) fail("the name of a rule");
    return text_.substr(begin, at_ - begin);
  }
  int32_t rule_of(const std::string& name) {
    const auto [known, added] = rule_of_.emplace(name, 0);
    if (added) {
      known->second = rules_.add();
      names_.resize(known->second + 1);
      names_[known->second] = name;
    }
    return known->second;
  }

  std::vector<Sequence> alternatives(bool nested) {
    if (++depth_ > kDeepest) fail(cat("groups that nest no deeper than ", kDeepest));
    std::vector<Sequence> all = {sequence(nested)};
    while (take("|")) {
      skip(true);
      all.push_back(sequence(nested));
    }
    --depth_;
    return all;
  }

  Sequence sequence(bool nested) {
    Sequence sequence;
    for (skip(nested); at_ < text_.size(); skip(nested)) {
      Sequence part;
      const char c = text_[at_];
      if (c == '"') {
        part = literal();
      } else if (c == '[') {
        part = {char_class()};
      } else if (take(".")) {
        part = {rules_.characters({}, true)};
      } else if (take("(")) {
        skip(true);
        part = {rules_.one_of(alternatives(true))};
        if (!take(")")) fail("')'");
      } else if (at_name()) {
        part = {Rules::rule(rule_of(name()))};
      } else {
        break;
      }
      repeat(part);
      sequence.insert(sequence.end(), part.begin(), part.end());
    }
    return sequence;
  }

  void repeat(Sequence& part) {
    int64_t least = 1, most = 1;
    if (take("*")) {
      least = 0, most = -1;
    } else if (take("+")) {
      most = -1;
    } else if (take("?")) {
      least = 0;
    } else if (take("{")) {
      skip(true);
      least = most = number();
      skip(true);
      if (take(",")) {
        skip(true);
        most = at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) ? number() : -1;
        skip(true);
      }
      if (!take("}") || (most >= 0 && most < least)) fail("{n}, {n,} or {n,m} with n <= m");
    } else {
      return;
    }
    elements_ += std::max(least, most);
    if (elements_ > kMostElements) fail(cat("at most ", kMostElements, " elements, repetitions counted"));
    part = {rules_.repeated(rules_.one_of({part}), least, most)};
  }

  int64_t number() {
    int64_t value = 0;
    const size_t begin = at_;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) &&
           value <= kMostRepeats)
      value = 10 * value + (text_[at_++] - '0');
    if (at_ == begin || value > kMostRepeats) fail(cat("a number up to ", kMostRepeats));
    return value;
  }

  Sequence literal() {
    std::string bytes;
    for (++at_; at_ < text_.size() && text_[at_] != '"';) append_utf8(bytes, character());
    if (!take("\"")) fail("'\"', the end of a text");
    return rules_.text(bytes);
  }

  Element char_class() {
    ++at_;
    const bool negated = take("^");
    std::vector<Range> ranges;
    while (at_ < text_.size() && text_[at_] != ']') {
      const char32_t first = character();
      char32_t last = first;
      if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        ++at_;
        last = character();
      }
      if (last < first) fail("a range that ascends");
      ranges.emplace_back(first, last);
    }
    if (!take("]")) fail("']', the end of a class");
    return rules_.characters(std::move(ranges), negated);
  }

  char32_t character() {
    if (text_[at_] != '\\') {
      const Character one = character_at(text_, at_);
      if (one.state != CharacterState::kWhole) fail("text in UTF-8");
      at_ += one.bytes;
      return one.code;
    }
    if (++at_ >= text_.size()) fail("an escape");
    const char c = text_[at_++];
    constexpr std::string_view kFrom = "nrt\"\\[]-^", kTo = "\n\r\t\"\\[]-^";
    if (const size_t known = kFrom.find(c); known != std::string_view::npos)
      return static_cast<unsigned char>(kTo[known]);
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    char32_t code = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      if (at_ >= text_.size() || !std::isxdigit(static_cast<unsigned char>(text_[at_])))
        fail(cat(digits, " hexadecimal digits"));
      const char d = text_[at_];
      code = 16 * code + (d <= '9' ? d - '0' : (d | 32) - 'a' + 10);
    }
    if (digits == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
      fail("an escape that is known, of a character");
    return code;
  }

  const std::string& text_;
  size_t at_ = 0;
  int depth_ = 0;
  int64_t elements_ = 0;
  Rules rules_;
  std::map<std::string, int32_t> rule_of_;
  std::vector<std::string> names_;  // by rule; of groups ""
};

}  // namespace

std::shared_ptr<const Grammar> parse_gbnf(const std::string& text, const Tokenizer& tokenizer) {
  return GbnfParser(text).parse(tokenizer);
}

}  // namespace shoal::text
