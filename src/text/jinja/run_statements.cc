#include "base/text.h"
#include "text/jinja/run.h"

namespace shoal::text::jinja {

using Kind = Statement::Kind;

namespace {

/// As a field of a namespace: what a list may hold.
Value check_plain(Value value) { return Value(List{{std::move(value)}}).list()[0]; }

}  // namespace

Run::After Run::exec(const Statement& s, std::string& out) {
  switch (s.kind) {
    case Kind::kText:
      charge(s.name.size());
      out += s.name;
      return After::kNext;
    case Kind::kPrint: {
      const std::string text = to_string(eval(*s.expression));
      charge(text.size());
      out += text;
      return After::kNext;
    }
    case Kind::kIf:
      for (size_t i = 0; i < s.conditions.size(); ++i)
        if (eval(*s.conditions[i]).truth()) return exec(s.bodies[i], out);
      return s.bodies.size() > s.conditions.size() ? exec(s.bodies.back(), out) : After::kNext;
    case Kind::kFor:
      return exec_for(s, eval(*s.expression), 0, out);
    case Kind::kSet:
      assign(*s.target, eval(*s.expression));
      return After::kNext;
    case Kind::kSetBlock:
      assign(*s.target, block(s));
      return After::kNext;
    case Kind::kMacro:
      scope_->names[s.name] = macro(s);
      return After::kNext;
    case Kind::kCall:
      exec_call(s, out);
      return After::kNext;
    case Kind::kFilter:
      out += block(s);
      return After::kNext;
    case Kind::kWith: {
      auto inner = std::make_shared<Scope>(Scope{{}, scope_});
      for (const auto& [name, value] : s.parameters) inner->names[name] = eval(*value);
      const ScopePtr outer = std::exchange(scope_, inner);
      const After after = exec(s.bodies[0], out);
      scope_ = outer;
      return after;
    }
    case Kind::kBlock:
      return exec(s.bodies[0], out);
    case Kind::kBreak:
      return After::kBreak;
    case Kind::kContinue:
      return After::kContinue;
  }
  return After::kNext;
}

Value Run::loop_value(const Statement& s, const std::vector<Value>& items, size_t at, int depth) {
  const auto count = static_cast<int64_t>(items.size()), index = static_cast<int64_t>(at);
  Dict loop;
  const auto set = [&](const char* name, Value value) { loop.entries.emplace_back(name, std::move(value)); };
  set("index", index + 1);
  set("index0", index);
  set("revindex", count - index);
  set("revindex0", count - index - 1);
  set("first", index == 0);
  set("last", index + 1 == count);
  set("length", count);
  set("depth", depth + 1);
  set("depth0", depth);
  set("previtem", at > 0 ? items[at - 1] : Value(Undefined{"there is no previous item"}));
  set("nextitem", at + 1 < items.size() ? items[at + 1] : Value(Undefined{"there is no next item"}));
  set("cycle", function("loop.cycle", [at](Run&, Arguments& given) -> Value {
        if (given.positional.empty()) throw Problem("loop.cycle: got no values, want some");
        const size_t chosen = at % given.positional.size();
        given.use_all();
        return given.positional[chosen];
      }));
  if (s.recursive)
    set("(call)", function("loop", [&s, depth](Run& run, Arguments& given) -> Value {
          std::string text;
          run.exec_for(s, given.need(0, "iterable"), depth + 1, text);
          return text;
        }));
  return std::make_shared<const Dict>(std::move(loop));  // it holds functions, and no list holds it
}

Run::After Run::exec_for(const Statement& s, const Value& over, int depth, std::string& out) {
  const ScopePtr outer = scope_;
  std::vector<Value> items = items_of(over);
  if (!s.conditions.empty()) {
    std::vector<Value> chosen;
    for (auto& one : items) {
      scope_ = std::make_shared<Scope>(Scope{{}, outer});
      assign(*s.target, one);
      if (eval(*s.conditions[0]).truth()) chosen.push_back(std::move(one));
    }
    items = std::move(chosen);
  }
  for (size_t at = 0; at < items.size(); ++at) {
    scope_ = std::make_shared<Scope>(Scope{{}, outer});
    scope_->names["loop"] = loop_value(s, items, at, depth);
    assign(*s.target, items[at]);
    if (exec(s.bodies[0], out) == After::kBreak) break;
  }
  scope_ = outer;
  return items.empty() && s.bodies.size() > 1 ? exec(s.bodies[1], out) : After::kNext;
}

void Run::assign(const Expression& target, Value value) {
  if (target.kind == Expression::Kind::kName) {
    scope_->names[target.name] = std::move(value);
    return;
  }
  if (target.kind == Expression::Kind::kAttribute) {
    const Value of = eval(*target.parts[0]);
    value = check_plain(std::move(value));
    if (!of.is<std::shared_ptr<Namespace>>())
      throw Problem(cat("got an attribute of ", of.type_name(), " to set, want one of a namespace"));
    std::get<std::shared_ptr<Namespace>>(of.data)->fields.set(target.name, std::move(value));
    return;
  }
  const auto items = items_of(value);
  if (items.size() != target.parts.size())
    throw Problem(cat("got ", items.size(), " values for ", target.parts.size(), " names"));
  for (size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i]);
}

Value Run::macro(const Statement& s) {
  // The scope holds the macro, so the macro must not hold the scope.
  return function(s.name, [&s, home = std::weak_ptr<Scope>(scope_)](Run& run, Arguments& given) -> Value {
    ScopePtr parent = home.lock();
    if (parent == nullptr)
      throw Problem(cat("macro '", s.name, "': got a call where what it was defined in has ended"));
    auto inner = std::make_shared<Scope>(Scope{{}, parent});
    const ScopePtr outer = std::exchange(run.scope_, inner);
    for (size_t i = 0; i < s.parameters.size(); ++i) {
      const auto& [name, otherwise] = s.parameters[i];
      const Value* value = given.find(i, name);
      inner->names[name] = value != nullptr ? *value
                           : otherwise != nullptr
                               ? run.eval(*otherwise)
                               : Value(Undefined{cat("parameter '", name, "' was not provided")});
    }
    if (const Value* caller = given.find(given.positional.size(), "caller")) inner->names["caller"] = *caller;
    std::string text;
    run.exec(s.bodies[0], text);
    run.scope_ = outer;
    return text;
  });
}

void Run::exec_call(const Statement& s, std::string& out) {
  const Value callee = eval(*s.expression->parts[0]);
  Arguments given = arguments(*s.expression);
  given.named.emplace_back("caller", macro(s));
  out += to_string(call(callee, std::move(given)));
}

Value function(std::string name, std::function<Value(Run&, Arguments&)> call) {
  return std::make_shared<const Function>(Function{std::move(name), std::move(call)});
}

}  // namespace shoal::text::jinja
