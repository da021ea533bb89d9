// A parser by descent: or < and < not < comparison < sum < product < sign < primary. Each call is bound as
// soon as it is read, so that an error of types knows where it stands.
#include "flow/expression.h"

#include <arrow/compute/api.h>

#include <cctype>
#include <charconv>

#include "base/text.h"
#include "flow/expression_functions.h"
#include "flow/keeping_pool.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {
namespace ac = arrow::compute;

class Parser {
 public:
  Parser(std::string_view text, const arrow::Schema& schema, const std::string& place)
      : text_(text), schema_(schema), place_(place) {}

  ac::Expression parse() {
    ac::Expression e = disjunction();
    skip_space();
    if (at_ < text_.size()) fail(at_, cat("got ", rest(), ", want an operator or the end"));
    return e;
  }

 private:
  [[noreturn]] void fail(size_t at, const std::string& what) const {
    throw InputError(cat(place_, ", position ", at + 1, ": ", what));
  }
  std::string rest() const { return at_ < text_.size() ? std::string(text_.substr(at_, 16)) : "the end"; }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  static bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }
  bool take(std::string_view word) {
    skip_space();
    if (!text_.substr(at_).starts_with(word)) return false;
    const size_t end = at_ + word.size();
    if (is_name(word.back()) && end < text_.size() && is_name(text_[end])) return false;
    at_ = end;
    return true;
  }
  void want(std::string_view word) {
    if (!take(word)) fail(at_, cat("got ", rest(), ", want ", word));
  }

  /// Binds what was read so far, to know its type and to find what does not fit.
  ac::Expression checked(size_t at, ac::Expression e, const std::string& what) const {
    const auto bound = e.Bind(schema_);
    if (bound.ok()) return e;
    std::vector<std::string> types;
    if (const auto* call = e.call())
      for (const ac::Expression& argument : call->arguments)
        if (const auto known = argument.Bind(schema_); known.ok()) types.push_back(type_name(*known->type()));
    fail(at, cat(what, " does not take these: got ", join(types, ", ")));
  }
  std::shared_ptr<arrow::DataType> type_of(const ac::Expression& e) const {
    return value(e.Bind(schema_), place_).type()->GetSharedPtr();
  }

  ac::Expression disjunction() {
    ac::Expression left = conjunction();
    while (true) {
      skip_space();
      const size_t at = at_;
      if (!take("or")) return left;
      left = checked(at, ac::call("or_kleene", {left, conjunction()}), "or");
    }
  }

  ac::Expression conjunction() {
    ac::Expression left = negation();
    while (true) {
      skip_space();
      const size_t at = at_;
      if (!take("and")) return left;
      left = checked(at, ac::call("and_kleene", {left, negation()}), "and");
    }
  }

  ac::Expression negation() {
    skip_space();
    const size_t at = at_;
    if (take("not")) return checked(at, ac::call("invert", {negation()}), "not");
    return comparison();
  }

  ac::Expression comparison() {
    ac::Expression left = sum();
    skip_space();
    const size_t at = at_;
    if (take("is")) {
      const bool negated = take("not");
      want("null");
      ac::Expression is = ac::call("is_null", {left}, ac::NullOptions());
      return negated ? ac::call("invert", {is}) : is;
    }
    if (take("in")) return membership(left, at);
    static constexpr std::pair<std::string_view, const char*> kSigns[] = {
        {"==", "equal"},         {"!=", "not_equal"}, {"<=", "less_equal"},
        {">=", "greater_equal"}, {"<", "less"},       {">", "greater"}};
    for (const auto& [sign, function] : kSigns)
      if (take(sign)) return checked(at, ac::call(function, {left, sum()}), std::string(sign));
    if (take("=")) fail(at, "got =, want ==");
    return left;
  }

  ac::Expression membership(const ac::Expression& left, size_t at) {
    want("(");
    ac::Expression any = checked(at, ac::call("equal", {left, sum()}), "in");
    while (take(",")) any = ac::call("or_kleene", {any, checked(at, ac::call("equal", {left, sum()}), "in")});
    want(")");
    return any;
  }

  ac::Expression sum() {
    ac::Expression left = product();
    while (true) {
      skip_space();
      const size_t at = at_;
      if (take("+"))
        left = checked(at, ac::call("add_checked", {left, product()}), "+");
      else if (take("-"))
        left = checked(at, ac::call("subtract_checked", {left, product()}), "-");
      else
        return left;
    }
  }

  ac::Expression fraction(const ac::Expression& e) const {
    return ac::call("cast", {e}, ac::CastOptions::Safe(arrow::float64()));
  }

  ac::Expression product() {
    ac::Expression left = sign();
    while (true) {
      skip_space();
      const size_t at = at_;
      if (take("*"))
        left = checked(at, ac::call("multiply_checked", {left, sign()}), "*");
      else if (take("/"))
        left = checked(at, ac::call("divide", {fraction(left), fraction(sign())}), "/");
      else if (take("%"))
        left = remainder(at, left, sign());
      else
        return left;
    }
  }

  /// a - b * (a / b), which rounds toward zero: the sign is that of a.
  ac::Expression remainder(size_t at, const ac::Expression& a, const ac::Expression& b) const {
    if (!arrow::is_integer(type_of(a)->id()) || !arrow::is_integer(type_of(b)->id()))
      fail(at, cat("% does not take these: got ", type_name(*type_of(a)), ", ", type_name(*type_of(b)),
                   ", want whole numbers"));
    return checked(at, ac::call("subtract", {a, ac::call("multiply", {b, ac::call("divide", {a, b})})}), "%");
  }

  ac::Expression sign() {
    skip_space();
    const size_t at = at_;
    if (!take("-")) return primary();
    skip_space();
    if (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) return number(at);
    return checked(at, ac::call("negate_checked", {sign()}), "-");
  }

  ac::Expression primary() {
    skip_space();
    const size_t at = at_;
    if (at_ >= text_.size()) fail(at, "got the end, want a value");
    if (take("(")) {
      ac::Expression inside = disjunction();
      want(")");
      return inside;
    }
    const char c = text_[at_];
    if (std::isdigit(static_cast<unsigned char>(c))) return number(at);
    if (c == '\'') return ac::literal(quoted('\''));
    if (c == '`') return column(at, quoted('`'));
    if (take("true")) return ac::literal(true);
    if (take("false")) return ac::literal(false);
    if (take("null")) return ac::literal(arrow::MakeNullScalar(arrow::null()));
    if (!is_name(c)) fail(at, cat("got ", rest(), ", want a value"));
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    const std::string name(text_.substr(at, at_ - at));
    return take("(") ? function(at, name) : column(at, name);
  }

  ac::Expression number(size_t at) {
    size_t end = text_.find_first_not_of("0123456789.eE_", at_);
    if (end == std::string_view::npos) end = text_.size();
    if (end < text_.size() && (text_[end] == '-' || text_[end] == '+') &&
        (text_[end - 1] == 'e' || text_[end - 1] == 'E'))
      end = std::min(text_.find_first_not_of("0123456789", end + 1), text_.size());
    const std::string digits = cat(text_[at] == '-' ? "-" : "", text_.substr(at_, end - at_));
    at_ = end;
    const char *begin = digits.data(), *stop = digits.data() + digits.size();
    if (digits.find_first_of(".eE") == std::string::npos) {
      int64_t whole = 0;
      if (const auto [p, bad] = std::from_chars(begin, stop, whole); bad == std::errc() && p == stop)
        return ac::literal(whole);
    } else {
      double real = 0;
      if (const auto [p, bad] = std::from_chars(begin, stop, real); bad == std::errc() && p == stop)
        return ac::literal(real);
    }
    fail(at, cat("got ", digits, ", want a number"));
  }

  std::string quoted(char quote) {
    const size_t at = at_++;
    std::string inside;
    while (true) {
      if (at_ >= text_.size()) fail(at, cat("a quote ", quote, " has no end"));
      const char c = text_[at_++];
      if (c != quote) {
        inside.push_back(c);
      } else if (at_ < text_.size() && text_[at_] == quote) {
        inside.push_back(c);
        ++at_;
      } else {
        return inside;
      }
    }
  }

  ac::Expression column(size_t at, const std::string& name) const {
    want_column(schema_, name, cat(place_, ", position ", at + 1));
    return ac::field_ref(name);
  }

  ac::Expression function(size_t at, const std::string& name) {
    const auto known = function_table().find(name);
    if (known == function_table().end()) {
      const std::vector<std::string> names = expression_functions();
      const std::string guess = nearest(name, names);
      fail(at, cat("unknown function: got ", name, ", want ",
                   guess.empty() ? cat("one of ", join(names, ", ")) : guess));
    }
    const ExpressionFunction& function = known->second;
    std::vector<ac::Expression> arguments;
    std::vector<size_t> places;
    if (!take(")")) {
      do {
        skip_space();
        places.push_back(at_);
        arguments.push_back(disjunction());
      } while (take(","));
      want(")");
    }
    const int count = static_cast<int>(arguments.size());
    if (count < function.least || count > function.most)
      fail(at, cat(name, " does not take ", count, ": want ", name, "(", function.arguments, ")"));
    for (size_t i = static_cast<size_t>(function.literals_from); i < arguments.size(); ++i) {
      const arrow::Datum* written = arguments[i].literal();
      const arrow::Type::type wanted =
          function.literals_are_numbers ? arrow::Type::INT64 : arrow::Type::STRING;
      if (!written || written->type()->id() != wanted)
        fail(places[i], cat(name, " wants this one written out, as in ", name, "(", function.arguments, ")"));
    }
    return checked(at, function.make(arguments), name);
  }

  std::string_view text_;
  const arrow::Schema& schema_;
  const std::string& place_;
  size_t at_ = 0;
};

}  // namespace

BoundExpression::BoundExpression(const std::string& text, SchemaPtr schema, const std::string& place)
    : text_(text), place_(place), schema_(std::move(schema)) {
  initialise_arrow();
  bound_ = value(Parser(text_, *schema_, place_).parse().Bind(*schema_), place_);
}

std::shared_ptr<arrow::DataType> BoundExpression::type() const { return bound_.type()->GetSharedPtr(); }

Names BoundExpression::columns() const {
  Names names;
  for (const arrow::FieldRef& field : ac::FieldsInExpression(bound_)) names.insert(*field.name());
  return names;
}

ArrayPtr BoundExpression::evaluate(const Batch& batch) const {
  if (batch->num_rows() == 0) return value(arrow::MakeEmptyArray(type()), place_);
  const ac::ExecBatch input(*batch);
  ac::ExecContext context(&memory());
  arrow::Datum result = value(ac::ExecuteScalarExpression(bound_, input, &context), cat(place_, ": ", text_));
  if (result.is_scalar())
    return value(arrow::MakeArrayFromScalar(*result.scalar(), batch->num_rows()), place_);
  return result.make_array();
}

std::vector<std::string> expression_functions() {
  std::vector<std::string> names;
  for (const auto& [name, unused] : function_table()) names.push_back(name);
  return names;
}

}  // namespace shoal::flow
