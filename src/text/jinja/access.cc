// a.b, a[b], a[b:c], and the names that every template has.
#include <algorithm>
#include <ctime>

#include "base/text.h"
#include "text/jinja/run.h"

namespace shoal::text::jinja {
namespace {

Value missing(const Value& of, const std::string& name) {
  return Undefined{cat("'", of.type_name(), " object' has no attribute '", name, "'")};
}

Value pairs(const Dict& dict) {
  List list;
  for (const auto& [key, value] : dict.entries) list.items.push_back(List{{key, value}, true});
  return list;
}

Value dict_method(const Value& of, const std::string& name) {
  if (name == "items") return function(name, [of](Run&, Arguments&) { return pairs(of.dict()); });
  if (name == "keys") return function(name, [of](Run&, Arguments&) -> Value { return List{items_of(of)}; });
  if (name == "values")
    return function(name, [of](Run&, Arguments&) -> Value {
      List list;
      for (const auto& entry : of.dict().entries) list.items.push_back(entry.second);
      return list;
    });
  if (name == "get")
    return function(name, [of](Run&, Arguments& given) -> Value {
      const Value* found = of.dict().find(given.need(0, "key"));
      Value otherwise = given.get(1, "default", None{});
      return found == nullptr ? otherwise : *found;
    });
  return {};
}

Value list_method(const Value& of, const std::string& name) {
  if (name == "count")
    return function(name, [of](Run&, Arguments& given) -> Value {
      const Value& wanted = given.need(0, "value");
      return static_cast<int64_t>(std::count_if(of.list().begin(), of.list().end(),
                                                [&](const Value& one) { return equal(one, wanted); }));
    });
  if (name == "index")
    return function(name, [of](Run&, Arguments& given) -> Value {
      const Value& wanted = given.need(0, "value");
      const auto found = std::find_if(of.list().begin(), of.list().end(),
                                      [&](const Value& one) { return equal(one, wanted); });
      if (found == of.list().end()) throw Problem("index: got a value that is not in the list");
      return static_cast<int64_t>(found - of.list().begin());
    });
  for (const char* changes : {"append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse"})
    if (name == changes) throw Problem(cat("got '", name, "', which changes a list; templates may not"));
  return {};
}

Value range(Run& run, Arguments& given) {
  int64_t start = given.integer(0, "start", 0), stop = given.integer(1, "stop", 0);
  const int64_t step = given.integer(2, "step", 1);
  if (given.positional.size() == 1) stop = std::exchange(start, 0);
  if (step == 0) throw Problem("range: got a step of 0");
  List list;
  for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
    run.charge(16);
    list.items.emplace_back(i);
    if (step > 0 ? i > stop - step : i < stop - step) break;  // the next one is beyond, or overflows
  }
  return list;
}

Dict named(Arguments& given) {
  Dict dict;
  if (!given.positional.empty() && given.positional[0].is_dict()) dict = given.positional[0].dict();
  for (const auto& [name, value] : given.named) dict.set(name, value);
  given.use_all();
  return dict;
}

std::string now(const std::string& format) {
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  localtime_r(&seconds, &local);
  std::string text(format.size() * 16 + 64, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
  return text;
}

}  // namespace

Value attribute(const Value& of, const std::string& name) {
  if (of.is_undefined()) throw Problem(std::get<Undefined>(of.data).why);
  if (of.is<std::shared_ptr<Namespace>>()) {
    const Value* field = std::get<std::shared_ptr<Namespace>>(of.data)->fields.find_name(name);
    return field == nullptr ? missing(of, name) : *field;
  }
  if (of.is_string()) {
    Value method = string_method(of.string(), name);
    return method.is_undefined() ? missing(of, name) : method;
  }
  if (of.is_dict()) {  // methods go first
    Value method = dict_method(of, name);
    if (!method.is_undefined()) return method;
    const Value* found = of.dict().find_name(name);
    return found == nullptr ? missing(of, name) : *found;
  }
  if (of.is_list()) {
    Value method = list_method(of, name);
    return method.is_undefined() ? missing(of, name) : method;
  }
  return missing(of, name);
}

Value item(const Value& of, const Value& key) {
  if (of.is_undefined()) throw Problem(std::get<Undefined>(of.data).why);
  if (of.is_dict()) {
    const Value* found = of.dict().find(key);
    if (found != nullptr) return *found;
  } else if ((of.is_list() || of.is_string()) && key.is_integer()) {
    const auto parts = of.is_string() ? characters(of.string()) : std::vector<std::string_view>();
    const auto size = static_cast<int64_t>(of.is_string() ? parts.size() : of.list().size());
    const int64_t at = key.integer() < 0 ? key.integer() + size : key.integer();
    if (at < 0 || at >= size)
      return Undefined{cat("'", of.type_name(), " object' has no element ", key.integer())};
    return of.is_string() ? Value(std::string(parts[at])) : of.list()[at];
  }
  if (key.is_string()) return attribute(of, key.string());
  return Undefined{cat("'", of.type_name(), " object' has no element ",
                       key.is_number() ? to_string(key) : key.type_name())};
}

Value slice(const Value& of, const Value& start, const Value& stop, const Value& step) {
  if (of.is_undefined()) throw Problem(std::get<Undefined>(of.data).why);
  if (!of.is_string() && !of.is_list()) return Undefined{cat("'", of.type_name(), " object' has no slices")};
  for (const Value* bound : {&start, &stop, &step})
    if (!bound->is_none() && !bound->is_integer())
      throw Problem(cat("a slice's bound: got ", bound->type_name(), ", want an integer or none"));
  const auto parts = of.is_string() ? characters(of.string()) : std::vector<std::string_view>();
  const auto size = static_cast<int64_t>(of.is_string() ? parts.size() : of.list().size());
  const int64_t by = step.is_none() ? 1 : std::clamp(step.integer(), -size - 1, size + 1);
  if (by == 0) throw Problem("got a slice whose step is 0");
  const int64_t lowest = by > 0 ? 0 : -1, highest = by > 0 ? size : size - 1;
  const auto clip = [&](const Value& bound, int64_t otherwise) {
    if (bound.is_none()) return otherwise;
    const int64_t at = bound.integer() < 0 ? bound.integer() + size : bound.integer();
    return std::clamp(at, lowest, highest);
  };
  const int64_t from = clip(start, by > 0 ? lowest : highest), to = clip(stop, by > 0 ? highest : lowest);
  std::string text;
  List list{.tuple = of.is_tuple()};
  const int64_t count = by > 0 ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
  for (int64_t i = 0; i < count; ++i)
    if (of.is_string())
      text += parts[from + i * by];
    else
      list.items.push_back(of.list()[from + i * by]);
  return of.is_string() ? Value(std::move(text)) : Value(std::move(list));
}

void add_globals(Scope& scope) {
  scope.names["range"] = function("range", range);
  scope.names["dict"] = function("dict", [](Run&, Arguments& given) -> Value { return named(given); });
  scope.names["namespace"] = function("namespace", [](Run&, Arguments& given) -> Value {
    const Value fields = named(given);
    return std::make_shared<Namespace>(Namespace{fields.dict()});
  });
  scope.names["raise_exception"] = function("raise_exception", [](Run&, Arguments& given) -> Value {
    throw Refusal(to_string(given.need(0, "message")));
  });
  scope.names["strftime_now"] =
      function("strftime_now", [](Run&, Arguments& given) -> Value { return now(given.text(0, "format")); });
}

}  // namespace shoal::text::jinja
