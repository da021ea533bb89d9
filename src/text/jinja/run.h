// One rendering of a template: names, limits, and the walk over the tree.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "text/jinja/syntax.h"
#include "text/jinja/value.h"

namespace shoal::text::jinja {

/// Names and what they mean: of the template, of a pass through a loop, of a call of a macro.
struct Scope {
  std::unordered_map<std::string, Value> names;
  std::shared_ptr<Scope> parent;
  const Value* find(const std::string& name) const;
};
using ScopePtr = std::shared_ptr<Scope>;

class Run {
 public:
  explicit Run(ScopePtr globals) : scope_(std::move(globals)) {}

  /// Appends what the body prints. Throws Problem or Refusal; line() then tells where.
  void render(const Body& body, std::string& out) { exec(body, out); }
  int line() const { return line_; }

  Value eval(const Expression&);
  Value call(const Value& callee, Arguments arguments);
  Value filter(const std::string& name, const Value& input, Arguments& arguments);
  bool test(const std::string& name, const Value& input, Arguments& arguments);
  /// Throws Problem where the work so far, in steps or made bytes, is beyond what templates need.
  void charge(size_t bytes);

 private:
  enum class After { kNext, kBreak, kContinue };
  class Deeper;

  After exec(const Body&, std::string& out);
  After exec(const Statement&, std::string& out);
  After exec_for(const Statement&, const Value& over, int depth, std::string& out);
  Value loop_value(const Statement&, const std::vector<Value>& items, size_t at, int depth);
  void exec_call(const Statement&, std::string& out);
  std::string block(const Statement&);  // what its first body prints, through its filters
  void assign(const Expression& target, Value);
  Value macro(const Statement&);

  Value eval_call(const Expression&);
  Value eval_filter(const Expression&, const Value* innermost);
  Value binary(const std::string& name, const Value&, const Value&);
  Value add(const Value&, const Value&);
  Value multiply(const Value&, const Value&);
  bool compare_chain(const Expression&);
  Arguments arguments(const Expression&);

  ScopePtr scope_;
  int line_ = 1;
  int depth_ = 0;
  size_t steps_ = 0, bytes_ = 0;
};

/// a.name; a[key]; a[start:stop:step].
Value attribute(const Value&, const std::string& name);
Value item(const Value&, const Value& key);
Value slice(const Value&, const Value& start, const Value& stop, const Value& step);

/// range, dict, namespace, raise_exception, strftime_now.
void add_globals(Scope&);

Value function(std::string name, std::function<Value(Run&, Arguments&)>);

}  // namespace shoal::text::jinja
