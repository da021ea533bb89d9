// Expressions, by falling strength: postfix, unary, **, * / // %, ~, + -, comparisons, not, and, or, if-else.
#pragma once

#include <string>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/syntax.h"

namespace shoal::text::jinja {

/// Goes over the lexemes; the statements' parser uses it too.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Lexeme> lexemes, const std::string& place)
      : lexemes_(std::move(lexemes)), place_(place) {}

  /// With `tuples`, "a, b" is one.
  ExpressionPtr expression(bool tuples = false);
  ExpressionPtr condition_without_if();  // of "for ... in HERE if"
  /// A name, names with commas (also in brackets), or "space.name".
  ExpressionPtr target(bool with_attribute);
  /// The filters that follow "|", around nothing.
  ExpressionPtr filters(ExpressionPtr inner, bool first_without_bar);

  const Lexeme& now() const { return lexemes_[at_]; }
  Lexeme next() { return lexemes_[at_ + 1 < lexemes_.size() ? at_++ : at_]; }
  bool is(const char* text) const {
    return (now().kind == Lexeme::Kind::kOperator || now().kind == Lexeme::Kind::kName) && now().text == text;
  }
  bool take(const char* text);
  void want(const char* text);
  std::string want_name();
  void want(Lexeme::Kind, const char* what);
  [[noreturn]] void fail(const std::string& want) const;

  /// Counts how deeply the template nests, and throws where that is too deep.
  class Depth {
   public:
    explicit Depth(ExpressionParser& parser);
    ~Depth() { --parser_.depth_; }

   private:
    ExpressionParser& parser_;
  };

 private:
  void check_chain(int links) const;
  std::unique_ptr<Expression> make(Expression::Kind) const;
  ExpressionPtr binary(ExpressionPtr (ExpressionParser::*part)(),
                       std::initializer_list<const char*> operators);
  ExpressionPtr or_(), and_(), not_(), compare(), sum(), concatenation(), product(), power();
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr signed_unary() { return unary(true); }
  ExpressionPtr primary();
  ExpressionPtr bracketed();
  ExpressionPtr postfix(ExpressionPtr);
  ExpressionPtr subscript(ExpressionPtr);
  ExpressionPtr test(ExpressionPtr);
  void arguments(Expression& call);

  std::vector<Lexeme> lexemes_;
  const std::string& place_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace shoal::text::jinja
