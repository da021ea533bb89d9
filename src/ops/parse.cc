// The text of a rule becomes a Rule. A hand-written descent, one function per line of the grammar in rules.h.
#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "ops/rules.h"
#include "shoal/error.h"

namespace shoal::ops {
namespace {

class Parser {
 public:
  Parser(const std::string& op, const std::string& text) : op_(op), text_(text) {}

  Rule rule() {
    Rule rule;
    rule.op = op_;
    rule.text = text_;
    do {
      rule.forms.push_back(form());
    } while (accept("|"));
    if (!at_end()) fail("\"|\", \";\" or the end");
    return rule;
  }

 private:
  Form form() {
    Form form;
    if (!peek("->")) {
      do {
        form.inputs.push_back(term());
      } while (accept(","));
    }
    if (!accept("->")) fail("\",\" or \"->\"");
    do {
      form.outputs.push_back(term());
    } while (accept(","));
    while (accept(";")) clause(form);
    return form;
  }

  Term term() {
    Term term;
    if (accept("-")) {
      term.absent = true;
      return term;
    }
    term.added = accept("+");
    if (accept("()")) return made_of(term);
    if (accept("(...)")) {
      term.flat = true;
      return made_of(term);
    }
    term.list = accept("{");
    axes(term);
    if (term.symbols.empty()) fail("a letter, \"...\", \"()\" or \"-\"");
    if (term.list && !accept("}")) fail("\"}\"");
    return made_of(term);
  }

  Term made_of(Term term) {
    if (accept("@")) term.made_of = number("the number of an input");
    return term;
  }

  void axes(Term& term) {
    int blocks = 0;
    for (skip(); !at_end(); skip()) {
      if (accept("...")) {
        term.symbols.push_back(kDots);
        ++blocks;
        if (accept("[")) {
          do {
            term.places.push_back(place());
          } while (accept(","));
          if (!accept("]")) fail("\",\" or \"]\"");
        }
      } else if (std::isalpha(static_cast<unsigned char>(text_[at_]))) {
        blocks += is_block(text_[at_]);
        term.symbols.push_back(text_[at_++]);
      } else {
        break;
      }
      if (blocks > 2 || (blocks == 2 && std::count(term.symbols.begin(), term.symbols.end(), kDots) != 1))
        fail("no more blocks here: a term has one, or \"...\" and one");
    }
  }

  Place place() {
    Place place;
    place.argument_name = name("the name of an argument");
    if (!accept(":")) fail("\":\"");
    skip();
    if (!at_end() && std::isdigit(static_cast<unsigned char>(text_[at_]))) place.times = number("a number");
    place.symbol = symbol("a letter or \"_\"");
    place.times_list = accept("~");
    place.pairs = accept("%");
    return place;
  }

  void clause(Form& form) {
    const std::string word = name("a clause");
    if (word == "if") {
      do {
        Condition condition;
        condition.argument_name = name("the name of an argument");
        if (!accept("=")) fail("\"=\"");
        condition.value = value();
        form.conditions.push_back(condition);
      } while (more());
    } else if (word == "whole" || word == "max" || word == "min" || word == "lse" || word == "kept") {
      colon();
      const Combine combine = word == "whole" ? Combine::kWhole
                              : word == "max" ? Combine::kMax
                              : word == "min" ? Combine::kMin
                              : word == "lse" ? Combine::kLse
                                              : Combine::kKept;
      do {
        form.combine[static_cast<size_t>(symbol("a symbol"))] = combine;
      } while (word == "kept" ? !accept("(") : more());
      if (word == "kept") {
        const size_t end = text_.find(')', at_);
        if (end == std::string::npos) fail("\")\" after the reason");
        form.kept_because = text_.substr(at_, end - at_);
        at_ = end + 1;
      }
    } else if (word == "spread") {
      colon();
      form.spread[static_cast<size_t>(symbol("a letter"))] = true;
    } else if (word == "broadcast") {
      if (accept(":"))
        form.broadcast_input = number("the number of an input");
      else
        form.broadcast_all = true;
    } else if (word == "permute") {
      colon();
      do {
        form.permute_names.push_back(name("the name of an argument"));
      } while (more());
    } else if (word == "without") {
      colon();
      const size_t end = text_.find('(', at_);
      if (end == std::string::npos) fail("an operator and \"(\"");
      skip();
      form.without_op = text_.substr(at_, end - at_);
      at_ = end + 1;
      while (!accept(")")) {
        form.without_names.push_back(name("the name of an argument or \")\""));
        accept(",");
      }
    } else if (word == "view") {
      form.view = true;
      form.linear.push_back({0});
    } else if (word == "linear") {
      colon();
      do {
        std::vector<int>& inputs = form.linear.emplace_back();
        do {
          inputs.push_back(number("the number of an input"));
        } while (more() && !peek(","));
      } while (accept(","));
    } else if (word == "at") {
      colon();
      Start start;
      start.argument_name = name("the name of an argument");
      start.symbol = symbol("a letter");
      form.starts.push_back(start);
    } else if (word == "memory") {
      form.memory = true;
    } else if (word == "random") {
      form.random = true;
    } else if (word == "flops") {
      colon();
      form.flops = number("a number");
      while (more()) form.flops_symbols.push_back(symbol("a symbol"));
    } else {
      SizeArgument size;
      size.argument_name = word;
      if (!accept("=")) fail(cat("a clause, or \"=\" after the argument ", word));
      if (accept("(...)")) {
        size.term.flat = true;
      } else {
        size.term.list = accept("{");
        axes(size.term);
        if (size.term.symbols.empty()) fail("letters, \"...\" or \"(...)\"");
        if (size.term.list && !accept("}")) fail("\"}\"");
      }
      form.sizes.push_back(size);
    }
  }

  void colon() {
    if (!accept(":")) fail("\":\"");
  }
  bool more() {
    skip();
    return !at_end() && text_[at_] != ';' && text_[at_] != '|';
  }
  Symbol symbol(const std::string& want) {
    skip();
    if (accept("...")) return kDots;
    if (at_end() || !(std::isalpha(static_cast<unsigned char>(text_[at_])) || text_[at_] == kOne)) fail(want);
    return text_[at_++];
  }
  std::string name(const std::string& want) {
    skip();
    const size_t begin = at_;
    while (!at_end() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_')) ++at_;
    if (begin == at_) fail(want);
    return text_.substr(begin, at_ - begin);
  }
  std::string value() {
    skip();
    const size_t begin = at_;
    if (accept("[")) {
      const size_t end = text_.find(']', at_);
      if (end == std::string::npos) fail("\"]\" after the numbers");
      at_ = end + 1;
      return text_.substr(begin, at_ - begin);
    }
    while (!at_end() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '-')) ++at_;
    if (begin == at_) fail("a number, true, false, none or a list of numbers");
    return text_.substr(begin, at_ - begin);
  }
  int number(const std::string& want) {
    skip();
    int number = 0;
    const size_t begin = at_;
    for (; !at_end() && at_ < begin + 6 && std::isdigit(static_cast<unsigned char>(text_[at_])); ++at_)
      number = 10 * number + (text_[at_] - '0');
    if (begin == at_) fail(want);
    return number;
  }
  void skip() {
    while (!at_end() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool peek(std::string_view token) {
    skip();
    return text_.compare(at_, token.size(), token) == 0;
  }
  bool accept(std::string_view token) {
    if (!peek(token) || (token == "-" && peek("->"))) return false;
    at_ += token.size();
    return true;
  }
  bool at_end() const { return at_ >= text_.size(); }

  [[noreturn]] void fail(const std::string& want) {
    skip();
    throw InputError(cat("rule of ", op_, ", at ", at_, " - \"", text_, "\": got ",
                         at_end() ? "the end" : cat("\"", text_.substr(at_, 12), "\""), ", want ", want));
  }

  const std::string op_, text_;
  size_t at_ = 0;
};

}  // namespace

Rule parse_rule(const std::string& op, const std::string& text) { return Parser(op, text).rule(); }

}  // namespace shoal::ops
