#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/text.h"
#include "shoal/error.h"
#include "text/utf8.h"

namespace shoal::text::jinja {
namespace {

bool white(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Lexer {
 public:
  Lexer(const std::string& source, const std::string& place) : place_(place) {
    for (size_t i = 0; i < source.size(); ++i) {  // all line ends as "\n"
      if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
      text_ += source[i] == '\r' ? '\n' : source[i];
    }
    if (text_.ends_with('\n')) text_.pop_back();
  }

  std::vector<Lexeme> lex() {
    while (at_ < text_.size()) {
      const size_t tag = next_tag();
      if (tag == std::string::npos) {
        give_text(text_.substr(at_));
        break;
      }
      lex_tag(tag);
    }
    out_.push_back({Lexeme::Kind::kEnd, line_, ""});
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(cat(place_, " - line ", line_, ": ", what));
  }

  size_t next_tag() const {
    for (size_t at = text_.find('{', at_); at != std::string::npos; at = text_.find('{', at + 1))
      if (at + 1 < text_.size() && (text_[at + 1] == '{' || text_[at + 1] == '%' || text_[at + 1] == '#'))
        return at;
    return std::string::npos;
  }

  void give_text(const std::string& text) {
    if (!text.empty()) out_.push_back({Lexeme::Kind::kText, line_, text});
  }

  void count_lines(size_t from, size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<int64_t>(from),
                                         text_.begin() + static_cast<int64_t>(to), '\n'));
  }

  /// The text before a tag, without the spaces that the tag takes away. `sign` follows its "{%".
  std::string before_tag(std::string text, char sign, bool print) const {
    if (sign == '-') {
      while (!text.empty() && white(text.back())) text.pop_back();
    } else if (sign != '+' && !print) {
      const size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
      const bool all_white = std::all_of(text.begin() + static_cast<int64_t>(line), text.end(), white);
      if ((line > 0 || line_starts_) && all_white) text.resize(line);
    }
    return text;
  }

  /// Steps over the end of a tag, and over the white space that it takes away. `at_` is at the sign or the
  /// end.
  void step_over_end(bool print) {
    const bool strip = text_[at_] == '-', keep = text_[at_] == '+';
    at_ += strip || keep ? 3 : 2;
    const size_t from = at_;
    if (strip)
      while (at_ < text_.size() && white(text_[at_])) ++at_;
    else if (!keep && !print && at_ < text_.size() && text_[at_] == '\n')
      ++at_;
    line_starts_ = at_ > from && text_[at_ - 1] == '\n';
    count_lines(from, at_);
  }

  bool at_end_of(const char* end) const {  // "%}", "-%}", "+%}"
    const std::string_view rest = std::string_view(text_).substr(at_);
    return rest.starts_with(end) ||
           (rest.size() > 1 && (rest[0] == '-' || (rest[0] == '+' && end[0] != '}')) &&
            rest.substr(1).starts_with(end));
  }

  void lex_tag(size_t tag) {
    const char kind = text_[tag + 1];
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
    const bool signed_tag = sign == '-' || (sign == '+' && kind != '{');
    give_text(before_tag(text_.substr(at_, tag - at_), sign, kind == '{'));
    count_lines(at_, tag);
    at_ = tag + (signed_tag ? 3 : 2);
    if (kind == '#') return lex_comment();
    if (kind == '%' && lex_raw()) return;
    const char* end = kind == '{' ? "}}" : "%}";
    out_.push_back({kind == '{' ? Lexeme::Kind::kPrintBegin : Lexeme::Kind::kBlockBegin, line_, ""});
    open_.clear();
    for (;;) {
      while (at_ < text_.size() && white(text_[at_])) line_ += text_[at_++] == '\n';
      if (at_ >= text_.size()) fail(cat("got the end of the template inside of a tag, want '", end, "'"));
      if (open_.empty() && at_end_of(end)) break;
      lex_one();
    }
    out_.push_back({kind == '{' ? Lexeme::Kind::kPrintEnd : Lexeme::Kind::kBlockEnd, line_, ""});
    step_over_end(kind == '{');
  }

  void lex_comment() {
    const size_t end = text_.find("#}", at_);
    if (end == std::string::npos) fail("got a comment without an end, want '#}'");
    count_lines(at_, end);
    at_ = end > at_ && (text_[end - 1] == '-' || text_[end - 1] == '+') ? end - 1 : end;
    step_over_end(false);
  }

  /// The word `name` as all that is in a tag; then `at` moves to the sign or the end.
  bool only_word(size_t& at, std::string_view name) const {
    size_t here = at;
    while (here < text_.size() && white(text_[here])) ++here;
    if (text_.compare(here, name.size(), name) != 0) return false;
    here += name.size();
    while (here < text_.size() && white(text_[here])) ++here;
    const size_t sign = here;
    if (here < text_.size() && (text_[here] == '-' || text_[here] == '+')) ++here;
    if (text_.compare(here, 2, "%}") != 0) return false;
    at = sign;
    return true;
  }

  bool lex_raw() {
    if (!only_word(at_, "raw")) return false;
    step_over_end(false);
    for (size_t tag = text_.find("{%", at_); tag != std::string::npos; tag = text_.find("{%", tag + 1)) {
      const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
      size_t end = tag + (sign == '-' || sign == '+' ? 3 : 2);
      if (!only_word(end, "endraw")) continue;
      give_text(before_tag(text_.substr(at_, tag - at_), sign, false));
      count_lines(at_, end);
      at_ = end;
      step_over_end(false);
      return true;
    }
    fail("got 'raw' without an end, want '{% endraw %}'");
  }

  void lex_one() {
    const char c = text_[at_];
    const auto is_word = [](char d) {
      return std::isalnum(static_cast<unsigned char>(d)) != 0 || d == '_' ||
             static_cast<unsigned char>(d) >= 0x80;
    };
    if (c == '\'' || c == '"') return lex_string(c);
    if (std::isdigit(static_cast<unsigned char>(c))) return lex_number();
    if (is_word(c)) {
      const size_t begin = at_;
      while (at_ < text_.size() && is_word(text_[at_])) ++at_;
      out_.push_back({Lexeme::Kind::kName, line_, text_.substr(begin, at_ - begin)});
      return;
    }
    constexpr std::array<const char*, 25> kOperators = {"**", "//", "==", "!=", "<=", ">=", "+", "-", "*",
                                                        "/",  "%",  "~",  "<",  ">",  "=",  "(", ")", "[",
                                                        "]",  "{",  "}",  ",",  ":",  ".",  "|"};
    for (const std::string_view name : kOperators)
      if (text_.compare(at_, name.size(), name) == 0) {
        if (c == '(' || c == '[' || c == '{') open_ += c;
        if (c == ')' || c == ']' || c == '}') {
          if (open_.empty()) fail(cat("got '", c, "', which closes nothing"));
          open_.pop_back();
        }
        out_.push_back({Lexeme::Kind::kOperator, line_, std::string(name)});
        at_ += name.size();
        return;
      }
    fail(cat("got '", c, "', which no expression has"));
  }

  void lex_number() {
    std::string digits;
    bool real = false;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const char next = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
      if (std::isdigit(static_cast<unsigned char>(c))) {
        digits += c;
      } else if (c == '.' && !real && std::isdigit(static_cast<unsigned char>(next))) {
        digits += c;
        real = true;
      } else if ((c == 'e' || c == 'E') && (std::isdigit(static_cast<unsigned char>(next)) ||
                                            ((next == '-' || next == '+') && at_ + 2 < text_.size() &&
                                             std::isdigit(static_cast<unsigned char>(text_[at_ + 2]))))) {
        digits += c;
        digits += next;
        ++at_;
        real = true;
      } else if (c != '_') {
        break;
      }
      ++at_;
    }
    out_.push_back({real ? Lexeme::Kind::kFloat : Lexeme::Kind::kInteger, line_, digits});
  }

  void lex_string(char quote) {
    std::string value;
    const int begin = line_;
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] == '\\' && at_ + 1 < text_.size())
        lex_escape(value);
      else
        value += text_[at_];
    }
    if (at_ >= text_.size()) fail("got a string without an end");
    ++at_;
    out_.push_back({Lexeme::Kind::kString, begin, value});
  }

  /// As Python reads it; `at_` ends at its last character.
  void lex_escape(std::string& value) {
    const char c = text_[++at_];
    constexpr std::string_view kFrom = "ntrbfav\\'\"", kTo = "\n\t\r\b\f\a\v\\'\"";
    if (c == '\n') {
      ++line_;  // the line goes on
      return;
    }
    if (const size_t known = kFrom.find(c); known != std::string_view::npos) {
      value += kTo[known];
      return;
    }
    if (c >= '0' && c <= '7') {  // up to three octal digits
      char32_t code = 0;
      size_t end = at_;
      while (end < text_.size() && end < at_ + 3 && text_[end] >= '0' && text_[end] <= '7')
        code = 8 * code + (text_[end++] - '0');
      append_utf8(value, code);
      at_ = end - 1;
      return;
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {
      (value += '\\') += c;
      return;
    }
    const std::string hexadecimal = text_.substr(at_ + 1, digits);
    const bool good =
        hexadecimal.size() == digits && std::all_of(hexadecimal.begin(), hexadecimal.end(),
                                                    [](unsigned char d) { return std::isxdigit(d) != 0; });
    const auto code = good ? std::stoul(hexadecimal, nullptr, 16) : ~0ul;
    if (code > 0x10FFFF)
      fail(cat("got the escape '\\", c, hexadecimal, "', want ", digits, " digits of a character's number"));
    append_utf8(value, static_cast<char32_t>(code));
    at_ += digits;
  }

  const std::string& place_;
  std::string text_;
  std::vector<Lexeme> out_;
  std::string open_;  // brackets of the tag that are open
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;  // what comes next stands at the beginning of a line
};

}  // namespace

std::vector<Lexeme> lex(const std::string& source, const std::string& place) {
  return Lexer(source, place).lex();
}

}  // namespace shoal::text::jinja
