#include "text/jinja/run.h"

#include <cmath>

#include "base/text.h"

namespace shoal::text::jinja {
namespace {

using Kind = Expression::Kind;
constexpr int kDeepest = 1000;
constexpr size_t kMostSteps = 5'000'000, kMostBytes = size_t{512} << 20;

int64_t checked(bool overflow, int64_t result) {
  if (overflow) throw Problem("got an integer beyond 64 bits");
  return result;
}

void refuse_undefined(const Value& value) {
  if (value.is_undefined()) throw Problem(std::get<Undefined>(value.data).why);
}

[[noreturn]] void no_operator(const std::string& name, const Value& a, const Value& b) {
  throw Problem(cat("'", name, "' does not take ", a.type_name(), " and ", b.type_name()));
}

int64_t floor_divide(int64_t a, int64_t b) {
  return a / b - ((a % b != 0 && (a % b < 0) != (b < 0)) ? 1 : 0);
}

Value divide(const std::string& name, const Value& a, const Value& b) {
  if (b.number() == 0) throw Problem("got a division by zero");
  if (name == "/") return a.number() / b.number();
  if (a.is_integer() && b.is_integer()) {
    if (b.integer() == -1)
      return name == "%" ? int64_t{0}
                         : checked(a.integer() == INT64_MIN, a.integer() == INT64_MIN ? 0 : -a.integer());
    const int64_t quotient = floor_divide(a.integer(), b.integer());
    return name == "//" ? quotient : a.integer() - quotient * b.integer();
  }
  const double quotient = std::floor(a.number() / b.number());
  return name == "//" ? quotient : a.number() - quotient * b.number();
}

Value raise(const Value& a, const Value& b) {
  if (!a.is_integer() || !b.is_integer() || b.integer() < 0) return std::pow(a.number(), b.number());
  int64_t result = 1;
  for (int64_t i = 0; i < b.integer(); ++i) {
    if (i > 64 && (a.integer() < -1 || a.integer() > 1)) checked(true, 0);
    if (i > 64) return a.integer() == -1 && b.integer() % 2 != 0 ? int64_t{-1} : a.integer() * a.integer();
    int64_t next = 0;
    const bool overflow = __builtin_mul_overflow(result, a.integer(), &next);
    result = checked(overflow, next);
  }
  return result;
}

}  // namespace

const Value* Scope::find(const std::string& name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get())
    if (const auto found = scope->names.find(name); found != scope->names.end()) return &found->second;
  return nullptr;
}

void Run::charge(size_t bytes) {
  bytes_ += bytes;
  if (++steps_ > kMostSteps || bytes_ > kMostBytes)
    throw Problem(cat("the template does not come to an end: got more than ", kMostSteps, " steps or ",
                      human_bytes(kMostBytes), " of text on the way"));
}

class Run::Deeper {
 public:
  explicit Deeper(Run& run) : run_(run) {
    if (++run.depth_ > kDeepest) {
      --run.depth_;
      throw Problem(cat("got calls or nesting deeper than ", kDeepest));
    }
  }
  ~Deeper() { --run_.depth_; }

 private:
  Run& run_;
};

Value Run::eval(const Expression& e) {
  const Deeper deeper(*this);
  line_ = e.line;
  charge(0);
  const auto part = [&](size_t i) { return eval(*e.parts[i]); };
  switch (e.kind) {
    case Kind::kConstant:
      if (e.value.is_string()) charge(e.value.string().size());
      return e.value;
    case Kind::kName: {
      const Value* found = scope_->find(e.name);
      if (found == nullptr) return Undefined{cat("'", e.name, "' is undefined")};
      if (found->is_string()) charge(found->string().size());
      return *found;
    }
    case Kind::kList:
    case Kind::kTuple: {
      List list{.tuple = e.kind == Kind::kTuple};
      for (const auto& one : e.parts) list.items.push_back(eval(*one));
      return list;
    }
    case Kind::kDict: {
      Dict dict;
      for (size_t i = 0; i < e.parts.size(); i += 2) {
        Value key = part(i);
        dict.set(std::move(key), part(i + 1));
      }
      return dict;
    }
    case Kind::kAttribute:
      return attribute(part(0), e.name);
    case Kind::kItem: {
      const Value of = part(0);
      return item(of, part(1));
    }
    case Kind::kSlice: {
      const auto bound = [&](size_t i) { return e.parts[i] == nullptr ? Value(None{}) : part(i); };
      const Value of = part(0), start = bound(1), stop = bound(2);
      Value cut = slice(of, start, stop, bound(3));
      if (cut.is_list()) charge(16 * cut.list().size());
      return cut;
    }
    case Kind::kCall:
      return eval_call(e);
    case Kind::kFilter:
      return eval_filter(e, nullptr);
    case Kind::kTest: {
      const Value input = part(0);
      Arguments given = arguments(e);
      return test(e.name, input, given);
    }
    case Kind::kNot:
      return !part(0).truth();
    case Kind::kNegative:
    case Kind::kPositive: {
      const Value value = part(0);
      refuse_undefined(value);
      if (!value.is_number()) throw Problem(cat("a sign before ", value.type_name(), ", want a number"));
      if (e.kind == Kind::kPositive) return value;
      return value.is_integer() ? Value(checked(value.integer() == INT64_MIN, -value.integer()))
                                : Value(-value.number());
    }
    case Kind::kBinary: {
      const Value a = part(0);
      return binary(e.name, a, part(1));
    }
    case Kind::kAnd: {
      Value a = part(0);
      return a.truth() ? part(1) : a;
    }
    case Kind::kOr: {
      Value a = part(0);
      return a.truth() ? a : part(1);
    }
    case Kind::kCompare:
      return compare_chain(e);
    case Kind::kCondition:
      if (part(1).truth()) return part(0);
      return e.parts[2] == nullptr ? Value(Undefined{"the value of an 'if' without 'else' is undefined"})
                                   : part(2);
  }
  return {};
}

Arguments Run::arguments(const Expression& e) {
  Arguments given;
  for (size_t i = 1; i < e.parts.size(); ++i) given.positional.push_back(eval(*e.parts[i]));
  for (const auto& [name, value] : e.named) given.named.emplace_back(name, eval(*value));
  return given;
}

Value Run::eval_call(const Expression& e) {
  const Value callee = eval(*e.parts[0]);
  Arguments given = arguments(e);
  line_ = e.line;
  return call(callee, std::move(given));
}

Value Run::call(const Value& callee, Arguments given) {
  refuse_undefined(callee);
  if (callee.is_dict())  // the loop of a recursive `for`
    if (const Value* inner = callee.dict().find_name("(call)")) return call(*inner, std::move(given));
  if (!callee.is_function())
    throw Problem(cat("got a call of ", callee.type_name(), ", want a function or a macro"));
  const auto function = std::get<std::shared_ptr<const Function>>(callee.data);
  Value result = function->call(*this, given);
  given.all_used(function->name);
  if (result.is_string()) charge(result.string().size());
  return result;
}

Value Run::eval_filter(const Expression& e, const Value* innermost) {
  const Deeper deeper(*this);
  const Value input = e.parts[0] == nullptr ? *innermost
                      : e.parts[0]->kind == Kind::kFilter && innermost != nullptr
                          ? eval_filter(*e.parts[0], innermost)
                          : eval(*e.parts[0]);
  Arguments given = arguments(e);
  line_ = e.line;
  Value result = filter(e.name, input, given);
  given.all_used("filter '" + e.name + "'");
  if (result.is_string()) charge(result.string().size());
  if (result.is_list()) charge(16 * result.list().size());
  return result;
}

std::string Run::block(const Statement& s) {
  std::string text;
  const ScopePtr outer = scope_;
  scope_ = std::make_shared<Scope>(Scope{{}, outer});
  exec(s.bodies[0], text);
  scope_ = outer;
  if (s.expression == nullptr) return text;
  const Value innermost = text;
  return to_string(eval_filter(*s.expression, &innermost));
}

bool Run::compare_chain(const Expression& e) {
  Value left = eval(*e.parts[0]);
  for (size_t i = 0; i < e.operators.size(); ++i) {
    Value right = eval(*e.parts[i + 1]);
    const std::string& name = e.operators[i];
    bool holds = false;
    if (name == "==" || name == "!=")
      holds = equal(left, right) == (name == "==");
    else if (name == "in" || name == "not in")
      holds = contains(right, left) == (name == "in");
    else {
      const int order = compare(left, right);
      holds = name == "<" ? order < 0 : name == ">" ? order > 0 : name == "<=" ? order <= 0 : order >= 0;
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Run::binary(const std::string& name, const Value& a, const Value& b) {
  if (name == "~") {
    std::string text = to_string(a) + to_string(b);
    charge(text.size());
    return text;
  }
  refuse_undefined(a);
  refuse_undefined(b);
  if (name == "+") return add(a, b);
  if (name == "*") return multiply(a, b);
  if (!a.is_number() || !b.is_number()) no_operator(name, a, b);
  if (name == "**") return raise(a, b);
  if (name != "-") return divide(name, a, b);
  if (!a.is_integer() || !b.is_integer()) return a.number() - b.number();
  int64_t result = 0;
  const bool overflow = __builtin_sub_overflow(a.integer(), b.integer(), &result);
  return checked(overflow, result);
}

Value Run::add(const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) {
    charge(a.string().size() + b.string().size());
    return a.string() + b.string();
  }
  if (a.is_list() && b.is_list() && a.is_tuple() == b.is_tuple()) {
    List list{a.list(), a.is_tuple()};
    list.items.insert(list.items.end(), b.list().begin(), b.list().end());
    charge(16 * list.items.size());
    return list;
  }
  if (!a.is_number() || !b.is_number()) no_operator("+", a, b);
  if (!a.is_integer() || !b.is_integer()) return a.number() + b.number();
  int64_t result = 0;
  const bool overflow = __builtin_add_overflow(a.integer(), b.integer(), &result);
  return checked(overflow, result);
}

Value Run::multiply(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (!a.is_integer() || !b.is_integer()) return a.number() * b.number();
    int64_t result = 0;
    const bool overflow = __builtin_mul_overflow(a.integer(), b.integer(), &result);
    return checked(overflow, result);
  }
  const bool number_first = a.is_integer();
  const Value &many = number_first ? b : a, &count = number_first ? a : b;
  if (!count.is_integer() || !(many.is_string() || many.is_list())) no_operator("*", a, b);
  const int64_t times = std::max<int64_t>(count.integer(), 0);
  const size_t size = many.is_string() ? many.string().size() : 16 * many.list().size();
  if (size > 0 && static_cast<size_t>(times) > kMostBytes / size) charge(kMostBytes + 1);
  charge(size * times);
  if (many.is_string()) {
    std::string text;
    for (int64_t i = 0; size > 0 && i < times; ++i) text += many.string();
    return text;
  }
  List list{.tuple = many.is_tuple()};
  for (int64_t i = 0; size > 0 && i < times; ++i)
    list.items.insert(list.items.end(), many.list().begin(), many.list().end());
  return list;
}

Run::After Run::exec(const Body& body, std::string& out) {
  const Deeper deeper(*this);
  for (const auto& statement : body) {
    line_ = statement->line;
    charge(0);
    const After after = exec(*statement, out);
    if (after != After::kNext) return after;
  }
  return After::kNext;
}

}  // namespace shoal::text::jinja
