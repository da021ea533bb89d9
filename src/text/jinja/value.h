// What a template computes with: Python's values, as far as templates see them. Lists and dicts never change
// once made (as in Jinja's immutable sandbox); only a namespace does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace shoal::text::jinja {

/// What went wrong while a template was rendered, without place and line.
class Problem : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// The template's own raise_exception.
class Refusal : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Value;
class Run;
class Arguments;

struct Undefined {
  std::string why;  // what to say where it is used as if it were something
};
struct None {};
struct List {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 0;  // of nesting
};
struct Dict {
  std::vector<std::pair<Value, Value>> entries;  // in the order of insertion
  int depth = 0;
  const Value* find(const Value& key) const;
  const Value* find_name(std::string_view key) const;
  void set(Value key, Value value);
};
struct Namespace {
  Dict fields;
};
struct Function {
  std::string name;
  std::function<Value(Run&, Arguments&)> call;
};

class Value {
 public:
  using Data =
      std::variant<Undefined, None, bool, int64_t, double, std::string, std::shared_ptr<const List>,
                   std::shared_ptr<const Dict>, std::shared_ptr<Namespace>, std::shared_ptr<const Function>>;
  Value() : data(Undefined{"the value is undefined"}) {}
  Value(Undefined value) : data(std::move(value)) {}
  Value(None value) : data(value) {}
  Value(bool value) : data(value) {}
  Value(int64_t value) : data(value) {}
  Value(double value) : data(value) {}
  Value(std::string value) : data(std::move(value)) {}
  Value(const char* value) : data(std::string(value)) {}
  /// These throw Problem where values nest too deeply, or hold a function or a namespace: so there are no
  /// cycles, and whoever walks a value (its destructor, too) comes to an end.
  Value(List value);
  Value(Dict value);
  Value(std::shared_ptr<const Dict> value) : data(std::move(value)) {}
  Value(std::shared_ptr<Namespace> value) : data(std::move(value)) {}
  Value(std::shared_ptr<const Function> value) : data(std::move(value)) {}
  Value(int value) : data(static_cast<int64_t>(value)) {}

  template <class T>
  bool is() const {
    return std::holds_alternative<T>(data);
  }
  bool is_undefined() const { return is<Undefined>(); }
  bool is_none() const { return is<None>(); }
  bool is_string() const { return is<std::string>(); }
  bool is_list() const { return is<std::shared_ptr<const List>>(); }
  bool is_dict() const { return is<std::shared_ptr<const Dict>>(); }
  bool is_function() const { return is<std::shared_ptr<const Function>>(); }
  bool is_integer() const { return is<int64_t>() || is<bool>(); }  // True is 1
  bool is_number() const { return is_integer() || is<double>(); }

  // REQUIRES: it is one.
  const std::string& string() const { return std::get<std::string>(data); }
  const std::vector<Value>& list() const { return std::get<std::shared_ptr<const List>>(data)->items; }
  bool is_tuple() const { return is_list() && std::get<std::shared_ptr<const List>>(data)->tuple; }
  int list_depth() const { return std::get<std::shared_ptr<const List>>(data)->depth; }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data); }
  int64_t integer() const { return is<bool>() ? std::get<bool>(data) : std::get<int64_t>(data); }
  double number() const { return is<double>() ? std::get<double>(data) : static_cast<double>(integer()); }

  bool truth() const;
  const char* type_name() const;  // as Python calls it

  Data data;
};

/// Throws Problem for numbers beyond 64 bits.
Value value_of(const nlohmann::ordered_json&);

bool equal(const Value&, const Value&);
/// Negative, zero, positive. Throws Problem where Python has no order for them.
int compare(const Value&, const Value&);
/// Throws Problem where Python would.
bool contains(const Value& container, const Value& item);

/// What `for` goes over: a list's items, a dict's keys, a string's characters.
std::vector<Value> items_of(const Value&);

/// As str() and repr() print it. Throw Problem where it nests too deeply.
std::string to_string(const Value&);
std::string repr(const Value&);
std::string number_text(double);

struct JsonStyle {
  int indent = -1;  // none
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false, ascii = false;
};
/// As Python's json.dumps prints it.
std::string to_json(const Value&, const JsonStyle&);

// Of strings, by characters.
std::vector<std::string_view> characters(std::string_view);
bool is_space(char32_t);
std::string strip(std::string_view, const std::string* characters, bool left, bool right);
/// The name's method of a string, or undefined.
Value string_method(const std::string& text, const std::string& name);

/// What a call was given: by position, then by name.
class Arguments {
 public:
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The one of this place or name, or null.
  const Value* find(size_t place, std::string_view name);
  Value get(size_t place, std::string_view name, Value otherwise);
  /// Throws Problem where it is missing.
  const Value& need(size_t place, std::string_view name);
  int64_t integer(size_t place, std::string_view name, int64_t otherwise);
  const std::string& text(size_t place, std::string_view name);
  bool flag(size_t place, std::string_view name, bool otherwise);
  /// Throws Problem where something was given that nobody asked for.
  void all_used(const std::string& callee) const;
  void use_all() { highest_ = positional.size(), used_.assign(named.size(), true); }

 private:
  size_t highest_ = 0;
  std::vector<bool> used_;
};

}  // namespace shoal::text::jinja
