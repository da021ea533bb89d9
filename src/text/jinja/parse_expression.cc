#include "text/jinja/parse_expression.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::text::jinja {
namespace {

using Kind = Expression::Kind;
constexpr int kDeepest = 150, kLongest = 500;  // of nesting; of a chain such as a + b + c

}  // namespace

ExpressionParser::Depth::Depth(ExpressionParser& parser) : parser_(parser) {
  if (++parser.depth_ > kDeepest)
    throw InputError(cat(parser.place_, " - line ", parser.now().line,
                         ": got a template that nests deeper than ", kDeepest));
}

void ExpressionParser::fail(const std::string& want) const {
  const auto& lexeme = now();
  const char* names[] = {
      "text", "'{{'", "'}}'", "'{%'", "'%}'", "", "", "", "", "", "the end of the template"};
  const std::string named = names[static_cast<size_t>(lexeme.kind)];
  throw InputError(cat(place_, " - line ", lexeme.line, ": got ",
                       named.empty() ? "'" + lexeme.text + "'" : named, ", want ", want));
}

void ExpressionParser::check_chain(int links) const {
  if (links > kLongest)
    throw InputError(cat(place_, " - line ", now().line, ": got an expression of more than ", kLongest,
                         " parts in a row"));
}

bool ExpressionParser::take(const char* text) {
  if (!is(text)) return false;
  next();
  return true;
}
void ExpressionParser::want(const char* text) {
  if (!take(text)) fail(cat("'", text, "'"));
}
std::string ExpressionParser::want_name() {
  if (now().kind != Lexeme::Kind::kName) fail("a name");
  return next().text;
}
void ExpressionParser::want(Lexeme::Kind kind, const char* what) {
  if (now().kind != kind) fail(what);
  next();
}

std::unique_ptr<Expression> ExpressionParser::make(Kind kind) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = now().line;
  return made;
}

ExpressionPtr ExpressionParser::expression(bool tuples) {
  const Depth depth(*this);
  ExpressionPtr left = or_();
  for (int links = 0; is("if"); ++links) {
    check_chain(links);
    auto condition = make(Kind::kCondition);
    next();
    condition->parts.push_back(std::move(left));
    condition->parts.push_back(or_());
    condition->parts.push_back(take("else") ? expression() : nullptr);
    left = std::move(condition);
  }
  if (!tuples || !is(",")) return left;
  auto tuple = make(Kind::kTuple);
  tuple->parts.push_back(std::move(left));
  while (take(",")) {
    if (now().kind == Lexeme::Kind::kBlockEnd || now().kind == Lexeme::Kind::kPrintEnd || is(")") || is("="))
      break;
    tuple->parts.push_back(expression());
  }
  return tuple;
}

ExpressionPtr ExpressionParser::condition_without_if() {
  ExpressionPtr left = or_();
  if (!is(",")) return left;
  auto tuple = make(Kind::kTuple);
  tuple->parts.push_back(std::move(left));
  while (take(",")) tuple->parts.push_back(or_());
  return tuple;
}

ExpressionPtr ExpressionParser::target(bool with_attribute) {
  const Depth depth(*this);
  const auto one = [&]() -> ExpressionPtr {
    if (take("(")) {
      auto inner = target(false);
      want(")");
      return inner;
    }
    auto name = make(Kind::kName);
    name->name = want_name();
    if (!with_attribute || !take(".")) return name;
    auto attribute = make(Kind::kAttribute);
    attribute->name = want_name();
    attribute->parts.push_back(std::move(name));
    return attribute;
  };
  ExpressionPtr first = one();
  if (!is(",")) return first;
  auto tuple = make(Kind::kTuple);
  tuple->parts.push_back(std::move(first));
  while (take(",")) tuple->parts.push_back(one());
  return tuple;
}

ExpressionPtr ExpressionParser::binary(ExpressionPtr (ExpressionParser::*part)(),
                                       std::initializer_list<const char*> operators) {
  ExpressionPtr left = (this->*part)();
  for (int links = 0;; ++links) {
    check_chain(links);
    const auto found =
        std::find_if(operators.begin(), operators.end(), [&](const char* name) { return is(name); });
    if (found == operators.end()) return left;
    auto both = make(*found == std::string("and")  ? Kind::kAnd
                     : *found == std::string("or") ? Kind::kOr
                                                   : Kind::kBinary);
    both->name = next().text;
    both->parts.push_back(std::move(left));
    both->parts.push_back((this->*part)());
    left = std::move(both);
  }
}

ExpressionPtr ExpressionParser::or_() { return binary(&ExpressionParser::and_, {"or"}); }
ExpressionPtr ExpressionParser::and_() { return binary(&ExpressionParser::not_, {"and"}); }

ExpressionPtr ExpressionParser::not_() {
  if (!is("not")) return compare();
  const Depth depth(*this);
  auto negation = make(Kind::kNot);
  next();
  negation->parts.push_back(not_());
  return negation;
}

ExpressionPtr ExpressionParser::compare() {
  auto comparison = make(Kind::kCompare);
  comparison->parts.push_back(sum());
  for (;;) {
    std::string name;
    for (const char* known : {"==", "!=", "<=", ">=", "<", ">", "in"})
      if (is(known)) name = known;
    if (is("not") && lexemes_[at_ + 1].kind == Lexeme::Kind::kName && lexemes_[at_ + 1].text == "in") {
      next();
      name = "not in";
    }
    if (name.empty()) break;
    next();
    comparison->operators.push_back(name);
    comparison->parts.push_back(sum());
  }
  return comparison->operators.empty() ? std::move(comparison->parts[0])
                                       : ExpressionPtr(std::move(comparison));
}

ExpressionPtr ExpressionParser::sum() { return binary(&ExpressionParser::concatenation, {"+", "-"}); }
ExpressionPtr ExpressionParser::concatenation() { return binary(&ExpressionParser::product, {"~"}); }
ExpressionPtr ExpressionParser::product() { return binary(&ExpressionParser::power, {"*", "/", "//", "%"}); }
ExpressionPtr ExpressionParser::power() { return binary(&ExpressionParser::signed_unary, {"**"}); }

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const Depth depth(*this);
  ExpressionPtr inner;
  if (is("-") || is("+")) {
    auto sign = make(is("-") ? Kind::kNegative : Kind::kPositive);
    next();
    sign->parts.push_back(unary(false));
    inner = std::move(sign);
  } else {
    inner = postfix(primary());
  }
  return with_filters ? filters(std::move(inner), false) : std::move(inner);
}

ExpressionPtr ExpressionParser::primary() {
  const Lexeme lexeme = now();
  auto constant = make(Kind::kConstant);
  switch (lexeme.kind) {
    case Lexeme::Kind::kString: {
      std::string text;
      while (now().kind == Lexeme::Kind::kString) text += next().text;
      constant->value = text;
      return constant;
    }
    case Lexeme::Kind::kInteger: {
      int64_t number = 0;
      const auto [end, error] =
          std::from_chars(lexeme.text.data(), lexeme.text.data() + lexeme.text.size(), number);
      if (error != std::errc()) fail("an integer of 64 bits");
      next();
      constant->value = number;
      return constant;
    }
    case Lexeme::Kind::kFloat: {
      double number = 0;
      std::from_chars(lexeme.text.data(), lexeme.text.data() + lexeme.text.size(), number);
      next();
      constant->value = number;
      return constant;
    }
    case Lexeme::Kind::kName: {
      next();
      if (lexeme.text == "true" || lexeme.text == "True")
        constant->value = true;
      else if (lexeme.text == "false" || lexeme.text == "False")
        constant->value = false;
      else if (lexeme.text == "none" || lexeme.text == "None")
        constant->value = None{};
      else {
        constant->kind = Kind::kName;
        constant->name = lexeme.text;
      }
      return constant;
    }
    default:
      return bracketed();
  }
}

ExpressionPtr ExpressionParser::bracketed() {
  if (is("(")) {
    auto empty = make(Kind::kTuple);
    next();
    if (take(")")) return empty;
    auto inner = expression(true);
    want(")");
    return inner;
  }
  auto made = make(is("[") ? Kind::kList : Kind::kDict);
  if (take("[")) {
    while (!take("]")) {
      made->parts.push_back(expression());
      if (!is("]")) want(",");
    }
    return made;
  }
  if (!take("{")) fail("an expression");
  while (!take("}")) {
    made->parts.push_back(expression());
    want(":");
    made->parts.push_back(expression());
    if (!is("}")) want(",");
  }
  return made;
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr inner) {
  for (int links = 0;; ++links) {
    check_chain(links);
    if (is(".")) {
      auto attribute = make(Kind::kAttribute);
      next();
      if (now().kind == Lexeme::Kind::kInteger) {
        attribute->kind = Kind::kItem;
        auto index = make(Kind::kConstant);
        index->value = static_cast<int64_t>(std::stoll(next().text));
        attribute->parts.push_back(std::move(inner));
        attribute->parts.push_back(std::move(index));
      } else {
        attribute->name = want_name();
        attribute->parts.push_back(std::move(inner));
      }
      inner = std::move(attribute);
    } else if (is("[")) {
      inner = subscript(std::move(inner));
    } else if (is("(")) {
      auto call = make(Kind::kCall);
      call->parts.push_back(std::move(inner));
      arguments(*call);
      inner = std::move(call);
    } else {
      return inner;
    }
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr inner) {
  auto item = make(Kind::kItem);
  next();
  item->parts.push_back(std::move(inner));
  if (!is(":")) item->parts.push_back(expression(true));
  if (take("]")) return item;
  item->kind = Kind::kSlice;
  if (item->parts.size() == 1) item->parts.push_back(nullptr);
  while (item->parts.size() < 4) {
    if (!take(":")) {
      item->parts.push_back(nullptr);
      continue;
    }
    item->parts.push_back(is(":") || is("]") ? nullptr : expression());
  }
  want("]");
  return item;
}

void ExpressionParser::arguments(Expression& call) {
  want("(");
  while (!take(")")) {
    if (is("*") || is("**")) fail("arguments one by one: '*' and '**' are not supported");
    const bool named = now().kind == Lexeme::Kind::kName &&
                       lexemes_[at_ + 1].kind == Lexeme::Kind::kOperator && lexemes_[at_ + 1].text == "=";
    if (named) {
      const std::string name = next().text;
      next();
      call.named.emplace_back(name, expression());
    } else {
      if (!call.named.empty()) fail("no argument by place after one by name");
      call.parts.push_back(expression());
    }
    if (!is(")")) want(",");
  }
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr inner, bool first_without_bar) {
  for (int links = 0;; ++links) {
    check_chain(links);
    if (first_without_bar || is("|")) {
      auto filter = make(Kind::kFilter);
      if (!first_without_bar) next();
      first_without_bar = false;
      filter->name = want_name();
      filter->parts.push_back(std::move(inner));
      if (is("(")) arguments(*filter);
      inner = std::move(filter);
    } else if (is("is")) {
      inner = test(std::move(inner));
    } else if (is("(") && inner != nullptr) {
      auto call = make(Kind::kCall);
      call->parts.push_back(std::move(inner));
      arguments(*call);
      inner = std::move(call);
    } else {
      return inner;
    }
  }
}

ExpressionPtr ExpressionParser::test(ExpressionPtr inner) {
  auto made = make(Kind::kTest);
  next();
  auto negation = make(Kind::kNot);
  const bool negated = take("not");
  made->name = now().kind == Lexeme::Kind::kOperator ? next().text : want_name();  // "is ==" is a test too
  made->parts.push_back(std::move(inner));
  const auto kind = now().kind;
  const bool word = kind == Lexeme::Kind::kName && !is("else") && !is("or") && !is("and") && !is("is") &&
                    !is("if") && !is("not") && !is("in") && !is("recursive");
  if (is("("))
    arguments(*made);
  else if (word || kind == Lexeme::Kind::kString || kind == Lexeme::Kind::kInteger ||
           kind == Lexeme::Kind::kFloat || is("[") || is("{"))
    made->parts.push_back(postfix(primary()));
  if (!negated) return made;
  negation->parts.push_back(std::move(made));
  return negation;
}

}  // namespace shoal::text::jinja
