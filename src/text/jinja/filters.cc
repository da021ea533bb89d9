// value | filter, by name (https://jinja.palletsprojects.com/templates/#list-of-builtin-filters).
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/text.h"
#include "text/jinja/run.h"

namespace shoal::text::jinja {
namespace {

using Filter = Value (*)(Run&, const Value&, Arguments&);

Value method(const char* name, Run& run, const Value& input, Arguments& given) {
  Value of_string = string_method(to_string(input), name);
  Value result = run.call(of_string, given);
  given.use_all();
  return result;
}

Value length(Run&, const Value& input, Arguments&) {
  if (input.is_dict()) return static_cast<int64_t>(input.dict().entries.size());
  return static_cast<int64_t>(items_of(input).size());
}

Value tojson(Run& run, const Value& input, Arguments& given) {
  JsonStyle style;
  const Value indent = given.get(0, "indent", None{});
  if (!indent.is_none()) {
    style.indent = static_cast<int>(std::clamp<int64_t>(given.integer(0, "indent", 0), 0, 100));
    style.item_separator = ",";
  }
  const Value separators = given.get(100, "separators", None{});
  if (!separators.is_none()) {
    const auto both = items_of(separators);
    if (both.size() != 2 || !both[0].is_string() || !both[1].is_string())
      throw Problem("tojson: got separators that are not two strings");
    style.item_separator = both[0].string();
    style.key_separator = both[1].string();
  }
  style.ascii = given.flag(100, "ensure_ascii", false);
  style.sort_keys = given.flag(100, "sort_keys", false);
  std::string text = to_json(input, style);
  run.charge(text.size());
  return text;
}

/// item.name, item.a.b, item[0], as `map(attribute=...)` names them.
Value by_path(const Value& of, const Value& path) {
  if (path.is_integer()) return item(of, path);
  if (!path.is_string()) throw Problem(cat("attribute: got ", path.type_name(), ", want a string"));
  Value value = of;
  for (const auto& name : split(path.string(), '.')) {
    const bool number =
        !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    value = item(value, number ? Value(static_cast<int64_t>(std::stoll(name.substr(0, 9)))) : Value(name));
  }
  return value;
}

Value join(Run& run, const Value& input, Arguments& given) {
  const std::string between = to_string(given.get(0, "d", ""));
  const Value path = given.get(1, "attribute", None{});
  std::string out;
  bool first = true;
  for (const Value& one : items_of(input)) {
    if (!first) out += between;
    out += to_string(path.is_none() ? one : by_path(one, path));
    run.charge(0);
    first = false;
  }
  return out;
}

Value default_(Run&, const Value& input, Arguments& given) {
  Value otherwise = given.get(0, "default_value", "");
  const bool if_false = given.flag(1, "boolean", false);
  return input.is_undefined() || (if_false && !input.truth()) ? otherwise : input;
}

Value first(Run&, const Value& input, Arguments&) {
  auto items = items_of(input);
  return items.empty() ? Value(Undefined{"No first item, sequence was empty."}) : items.front();
}
Value last(Run&, const Value& input, Arguments&) {
  auto items = items_of(input);
  return items.empty() ? Value(Undefined{"No last item, sequence was empty."}) : items.back();
}

Value integer(Run&, const Value& input, Arguments& given) {
  const Value otherwise = given.get(0, "default", 0);
  if (input.is_integer()) return input.integer();
  if (input.is_number())
    return std::abs(input.number()) < 9e18 ? Value(static_cast<int64_t>(input.number())) : otherwise;
  if (!input.is_string()) return otherwise;
  const std::string text = strip(input.string(), nullptr, true, true);
  const char *begin = text.data() + (text.starts_with('+') ? 1 : 0), *end = text.data() + text.size();
  int64_t number = 0;
  if (const auto [at, error] = std::from_chars(begin, end, number);
      begin != end && at == end && error == std::errc())
    return number;
  double real = 0;
  if (const auto [at, error] = std::from_chars(begin, end, real);
      begin != end && at == end && error == std::errc() && std::abs(real) < 9e18)
    return static_cast<int64_t>(real);
  return otherwise;
}

Value real(Run&, const Value& input, Arguments& given) {
  const Value otherwise = given.get(0, "default", 0.0);
  if (input.is_number()) return input.number();
  if (!input.is_string()) return otherwise;
  const std::string text = strip(input.string(), nullptr, true, true);
  double number = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return !text.empty() && at == text.data() + text.size() && error == std::errc() ? Value(number) : otherwise;
}

Value items(Run&, const Value& input, Arguments&) {
  List list;
  if (input.is_undefined()) return list;
  if (!input.is_dict()) throw Problem(cat("items: got ", input.type_name(), ", want a dict"));
  for (const auto& [key, value] : input.dict().entries) list.items.push_back(List{{key, value}, true});
  return list;
}

/// For sorting: without regard to capitals unless asked for.
Value key_of(const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is_string()) return value;
  Arguments none;
  const Value lower = string_method(value.string(), "lower");
  Run run(std::make_shared<Scope>());
  return run.call(lower, none);
}

Value sort(Run&, const Value& input, Arguments& given) {
  const bool reverse = given.flag(0, "reverse", false),
             case_sensitive = given.flag(1, "case_sensitive", false);
  const Value path = given.get(2, "attribute", None{});
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& one : items_of(input))
    keyed.emplace_back(List{{key_of(path.is_none() ? one : by_path(one, path), case_sensitive)}},
                       one);  // a list, for undefined ones are equal in lists
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? compare(b.first, a.first) < 0 : compare(a.first, b.first) < 0;
  });
  List list;
  for (auto& pair : keyed) list.items.push_back(std::move(pair.second));
  return list;
}

Value dictsort(Run& run, const Value& input, Arguments& given) {
  const bool case_sensitive = given.flag(0, "case_sensitive", false);
  const std::string by = to_string(given.get(1, "by", "key"));
  const bool reverse = given.flag(2, "reverse", false);
  Arguments none, how;
  how.named = {
      {"reverse", reverse}, {"case_sensitive", case_sensitive}, {"attribute", by == "value" ? 1 : 0}};
  return sort(run, items(run, input, none), how);
}

Value unique(Run&, const Value& input, Arguments& given) {
  const bool case_sensitive = given.flag(0, "case_sensitive", false);
  const Value path = given.get(1, "attribute", None{});
  List list;
  std::vector<Value> seen;
  for (const Value& one : items_of(input)) {
    const Value key = key_of(path.is_none() ? one : by_path(one, path), case_sensitive);
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equal(other, key); }))
      continue;
    seen.push_back(key);
    list.items.push_back(one);
  }
  return list;
}

Value reverse(Run&, const Value& input, Arguments&) {
  auto all = items_of(input);
  std::reverse(all.begin(), all.end());
  if (!input.is_string()) return List{std::move(all)};
  std::string text;
  for (const Value& one : all) text += one.string();
  return text;
}

Value extreme(const Value& input, bool most) {
  const auto all = items_of(input);
  if (all.empty()) return Undefined{"No aggregated item, sequence was empty."};
  return *std::min_element(all.begin(), all.end(), [&](const Value& a, const Value& b) {
    const int order = compare(key_of(a, false), key_of(b, false));
    return most ? order > 0 : order < 0;
  });
}

Value sum(Run&, const Value& input, Arguments& given) {
  const Value path = given.get(0, "attribute", None{}), start = given.get(1, "start", 0);
  double total = start.is_number() ? start.number() : 0;
  bool whole = start.is_integer();
  for (const Value& one : items_of(input)) {
    const Value value = path.is_none() ? one : by_path(one, path);
    if (!value.is_number()) throw Problem(cat("sum: got ", value.type_name(), ", want numbers"));
    whole = whole && value.is_integer();
    total += value.number();
  }
  return whole ? Value(static_cast<int64_t>(total)) : Value(total);
}

Value round(Run&, const Value& input, Arguments& given) {
  const int64_t digits = given.integer(0, "precision", 0);
  const std::string how = to_string(given.get(1, "method", "common"));
  if (!input.is_number()) throw Problem(cat("round: got ", input.type_name(), ", want a number"));
  const double scale = std::pow(10.0, static_cast<double>(digits)), scaled = input.number() * scale;
  return (how == "ceil"    ? std::ceil(scaled)
          : how == "floor" ? std::floor(scaled)
                           : std::nearbyint(scaled)) /
         scale;
}

Value absolute(Run&, const Value& input, Arguments&) {
  if (input.is_integer() && input.integer() != INT64_MIN) return std::abs(input.integer());
  if (!input.is_number()) throw Problem(cat("abs: got ", input.type_name(), ", want a number"));
  return std::abs(input.number());
}

Value indent(Run&, const Value& input, Arguments& given) {
  const Value width = given.get(0, "width", 4);
  const bool first_too = given.flag(1, "first", false), blank_too = given.flag(2, "blank", false);
  const std::string by =
      width.is_string()
          ? width.string()
          : std::string(static_cast<size_t>(std::clamp<int64_t>(given.integer(0, "width", 4), 0, 1000)), ' ');
  std::string out = first_too ? by : "";
  const auto lines = split(to_string(input), '\n');
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += "\n" + (blank_too || !lines[i].empty() ? by : "");
    out += lines[i];
  }
  return out;
}

Value escape(Run&, const Value& input, Arguments&) {
  std::string out;
  for (const char c : to_string(input))
    out += c == '&'    ? "&amp;"
           : c == '<'  ? "&lt;"
           : c == '>'  ? "&gt;"
           : c == '"'  ? "&#34;"
           : c == '\'' ? "&#39;"
                       : std::string(1, c);
  return out;
}

Arguments without_first(const Arguments& given) {
  Arguments rest;
  if (!given.positional.empty()) rest.positional.assign(given.positional.begin() + 1, given.positional.end());
  return rest;
}

Value map(Run& run, const Value& input, Arguments& given) {
  List list;
  const Value* path = given.find(100, "attribute");
  const Value otherwise = given.get(100, "default", Undefined{"no such attribute"});
  for (const Value& one : items_of(input)) {
    if (path != nullptr) {
      Value value = by_path(one, *path);
      list.items.push_back(value.is_undefined() && given.find(100, "default") != nullptr ? otherwise : value);
    } else {
      Arguments rest = without_first(given);
      rest.named = given.named;
      list.items.push_back(run.filter(given.text(0, "filter"), one, rest));
    }
  }
  given.use_all();
  return list;
}

/// select, reject, selectattr, rejectattr: items (or what they have by a name) that pass a test, or do not.
Value choose(Run& run, const Value& input, Arguments& given, bool by_attribute, bool wanted) {
  List list;
  const Arguments after_path = by_attribute ? without_first(given) : given;
  for (const Value& one : items_of(input)) {
    const Value value = by_attribute ? by_path(one, given.need(0, "attribute")) : one;
    Arguments rest = without_first(after_path);
    const bool passes = after_path.positional.empty()
                            ? value.truth()
                            : run.test(to_string(after_path.positional[0]), value, rest);
    if (passes == wanted) list.items.push_back(one);
  }
  given.use_all();
  return list;
}

Value to_list(Run&, const Value& input, Arguments&) { return List{items_of(input)}; }
Value text(Run&, const Value& input, Arguments&) { return to_string(input); }
Value trim(Run& run, const Value& input, Arguments& given) { return method("strip", run, input, given); }

const std::pair<const char*, Filter> kFilters[] = {
    {"abs", absolute},
    {"count", length},
    {"d", default_},
    {"default", default_},
    {"dictsort", dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", first},
    {"float", real},
    {"indent", indent},
    {"int", integer},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", to_list},
    {"map", map},
    {"reverse", reverse},
    {"round", round},
    {"safe", text},
    {"sort", sort},
    {"string", text},
    {"sum", sum},
    {"tojson", tojson},
    {"trim", trim},
    {"unique", unique},
    {"capitalize", [](Run& r, const Value& v, Arguments& a) { return method("capitalize", r, v, a); }},
    {"lower", [](Run& r, const Value& v, Arguments& a) { return method("lower", r, v, a); }},
    {"max", [](Run&, const Value& v, Arguments&) { return extreme(v, true); }},
    {"min", [](Run&, const Value& v, Arguments&) { return extreme(v, false); }},
    {"reject", [](Run& r, const Value& v, Arguments& a) { return choose(r, v, a, false, false); }},
    {"rejectattr", [](Run& r, const Value& v, Arguments& a) { return choose(r, v, a, true, false); }},
    {"replace", [](Run& r, const Value& v, Arguments& a) { return method("replace", r, v, a); }},
    {"select", [](Run& r, const Value& v, Arguments& a) { return choose(r, v, a, false, true); }},
    {"selectattr", [](Run& r, const Value& v, Arguments& a) { return choose(r, v, a, true, true); }},
    {"title", [](Run& r, const Value& v, Arguments& a) { return method("title", r, v, a); }},
    {"upper", [](Run& r, const Value& v, Arguments& a) { return method("upper", r, v, a); }},
};

}  // namespace

Value Run::filter(const std::string& name, const Value& input, Arguments& given) {
  for (const auto& [known, call] : kFilters)
    if (name == known) return call(*this, input, given);
  std::vector<std::string> names;
  for (const auto& known : kFilters) names.emplace_back(known.first);
  throw Problem(cat("got the filter '", name, "', want one of ", shoal::join(names, ", ")));
}

}  // namespace shoal::text::jinja
