// Statements.
#include <algorithm>

#include "base/text.h"
#include "shoal/error.h"
#include "text/jinja/parse_expression.h"

namespace shoal::text::jinja {
namespace {

using Kind = Statement::Kind;
using StatementPtr = std::unique_ptr<const Statement>;

class Parser {
 public:
  Parser(const std::string& source, const std::string& place) : p_(lex(source, place), place) {}

  Body parse() {
    Body body = body_until({});
    if (p_.now().kind != Lexeme::Kind::kEnd) p_.fail("the end of the template");
    return body;
  }

 private:
  using Ends = std::vector<const char*>;

  /// Up to "{%" and one of the words, which are left to the caller; or to the end of the template.
  Body body_until(const Ends& ends) {
    const ExpressionParser::Depth depth(p_);
    Body body;
    for (;;) {
      const Lexeme lexeme = p_.now();
      if (lexeme.kind == Lexeme::Kind::kEnd) {
        if (!ends.empty()) p_.fail(cat("'{% ", ends.back(), " %}'"));
        return body;
      }
      p_.next();
      if (lexeme.kind == Lexeme::Kind::kText) {
        auto text = make(Kind::kText, lexeme.line);
        text->name = lexeme.text;
        body.push_back(std::move(text));
      } else if (lexeme.kind == Lexeme::Kind::kPrintBegin) {
        auto print = make(Kind::kPrint, lexeme.line);
        print->expression = p_.expression(true);
        p_.want(Lexeme::Kind::kPrintEnd, "'}}'");
        body.push_back(std::move(print));
      } else {
        if (std::any_of(ends.begin(), ends.end(), [&](const char* end) { return p_.is(end); })) return body;
        body.push_back(statement());
      }
    }
  }

  static std::unique_ptr<Statement> make(Kind kind, int line) {
    auto made = std::make_unique<Statement>();
    made->kind = kind;
    made->line = line;
    return made;
  }

  void end_of_tag() { p_.want(Lexeme::Kind::kBlockEnd, "'%}'"); }

  /// "%} body {% end... %}", with one body.
  void body_and_end(Statement& made, const char* end) {
    end_of_tag();
    made.bodies.push_back(body_until({end}));
    p_.next();
    end_of_tag();
  }

  StatementPtr statement() {
    const int line = p_.now().line;
    if (p_.take("if")) return if_(line);
    if (p_.take("for")) return for_(line);
    if (p_.take("set")) return set(line);
    if (p_.take("macro")) return macro(line);
    if (p_.take("call")) return call(line);
    if (p_.take("with")) return with(line);
    if (p_.take("filter")) {
      auto made = make(Kind::kFilter, line);
      made->expression = p_.filters(nullptr, true);
      body_and_end(*made, "endfilter");
      return made;
    }
    if (p_.take("generation")) {
      auto made = make(Kind::kBlock, line);
      body_and_end(*made, "endgeneration");
      return made;
    }
    if (p_.is("break") || p_.is("continue")) {
      auto made = make(p_.is("break") ? Kind::kBreak : Kind::kContinue, line);
      if (loops_ == 0) p_.fail("it inside of a loop");
      p_.next();
      end_of_tag();
      return made;
    }
    p_.fail("one of if, for, set, macro, call, filter, with, generation, break, continue, raw");
  }

  StatementPtr if_(int line) {
    auto made = make(Kind::kIf, line);
    made->conditions.push_back(p_.expression(true));
    end_of_tag();
    made->bodies.push_back(body_until({"elif", "else", "endif"}));
    while (p_.take("elif")) {
      made->conditions.push_back(p_.expression(true));
      end_of_tag();
      made->bodies.push_back(body_until({"elif", "else", "endif"}));
    }
    if (p_.take("else")) {
      end_of_tag();
      made->bodies.push_back(body_until({"endif"}));
    }
    p_.want("endif");
    end_of_tag();
    return made;
  }

  StatementPtr for_(int line) {
    auto made = make(Kind::kFor, line);
    made->target = p_.target(false);
    p_.want("in");
    made->expression = p_.condition_without_if();
    if (p_.take("if")) made->conditions.push_back(p_.expression());
    made->recursive = p_.take("recursive");
    end_of_tag();
    ++loops_;
    made->bodies.push_back(body_until({"else", "endfor"}));
    --loops_;
    if (p_.take("else")) {
      end_of_tag();
      made->bodies.push_back(body_until({"endfor"}));
    }
    p_.want("endfor");
    end_of_tag();
    return made;
  }

  StatementPtr set(int line) {
    auto made = make(Kind::kSet, line);
    made->target = p_.target(true);
    if (p_.take("=")) {
      made->expression = p_.expression(true);
      end_of_tag();
      return made;
    }
    made->kind = Kind::kSetBlock;
    made->expression = p_.filters(nullptr, false);
    body_and_end(*made, "endset");
    return made;
  }

  void parameters(Statement& made) {
    p_.want("(");
    while (!p_.take(")")) {
      const std::string name = p_.want_name();
      made.parameters.emplace_back(name, p_.take("=") ? p_.expression() : nullptr);
      if (!p_.is(")")) p_.want(",");
    }
  }

  StatementPtr macro(int line) {
    auto made = make(Kind::kMacro, line);
    made->name = p_.want_name();
    parameters(*made);
    const int loops = std::exchange(loops_, 0);
    body_and_end(*made, "endmacro");
    loops_ = loops;
    return made;
  }

  StatementPtr call(int line) {
    auto made = make(Kind::kCall, line);
    if (p_.is("(")) parameters(*made);
    made->expression = p_.expression();
    if (made->expression->kind != Expression::Kind::kCall) p_.fail("a call");
    const int loops = std::exchange(loops_, 0);
    body_and_end(*made, "endcall");
    loops_ = loops;
    return made;
  }

  StatementPtr with(int line) {
    auto made = make(Kind::kWith, line);
    while (p_.now().kind != Lexeme::Kind::kBlockEnd) {
      const std::string name = p_.want_name();
      p_.want("=");
      made->parameters.emplace_back(name, p_.expression());
      if (p_.now().kind != Lexeme::Kind::kBlockEnd) p_.want(",");
    }
    body_and_end(*made, "endwith");
    return made;
  }

  ExpressionParser p_;
  int loops_ = 0;  // around what is being read
};

}  // namespace

Body parse(const std::string& source, const std::string& place) { return Parser(source, place).parse(); }

}  // namespace shoal::text::jinja
