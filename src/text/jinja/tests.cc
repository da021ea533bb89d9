// value is test, by name (https://jinja.palletsprojects.com/templates/#list-of-builtin-tests).
#include "base/text.h"
#include "text/jinja/run.h"

namespace shoal::text::jinja {
namespace {

using Test = bool (*)(const Value&, Arguments&);

bool same(const Value& a, Arguments& given) { return equal(a, given.need(0, "other")); }
bool differs(const Value& a, Arguments& given) { return !same(a, given); }
bool less(const Value& a, Arguments& given) { return compare(a, given.need(0, "other")) < 0; }
bool less_or_equal(const Value& a, Arguments& given) { return compare(a, given.need(0, "other")) <= 0; }
bool greater(const Value& a, Arguments& given) { return compare(a, given.need(0, "other")) > 0; }
bool greater_or_equal(const Value& a, Arguments& given) { return compare(a, given.need(0, "other")) >= 0; }

/// `sameas` compares objects; of what templates compare so (true, false, none, numbers) the type has to
/// agree.
bool same_object(const Value& a, Arguments& given) {
  const Value& b = given.need(0, "other");
  return a.data.index() == b.data.index() && equal(a, b);
}

int64_t whole(const Value& value) {
  if (!value.is_integer()) throw Problem(cat("a test of integers: got ", value.type_name()));
  return value.integer();
}

bool divisible(const Value& a, Arguments& given) {
  const int64_t by = whole(given.need(0, "num"));
  if (by == 0) throw Problem("divisibleby: got 0");
  return by == -1 || whole(a) % by == 0;
}

bool in_case(const Value& value, const char* name) {
  Arguments none;
  Run run(std::make_shared<Scope>());
  return run.call(string_method(to_string(value), name), none).truth();
}

const std::pair<const char*, Test> kTests[] = {
    {"defined", [](const Value& v, Arguments&) { return !v.is_undefined(); }},
    {"undefined", [](const Value& v, Arguments&) { return v.is_undefined(); }},
    {"none", [](const Value& v, Arguments&) { return v.is_none(); }},
    {"string", [](const Value& v, Arguments&) { return v.is_string(); }},
    {"number", [](const Value& v, Arguments&) { return v.is_number(); }},
    {"integer", [](const Value& v, Arguments&) { return v.is<int64_t>(); }},
    {"float", [](const Value& v, Arguments&) { return v.is<double>(); }},
    {"boolean", [](const Value& v, Arguments&) { return v.is<bool>(); }},
    {"true", [](const Value& v, Arguments&) { return v.is<bool>() && v.truth(); }},
    {"false", [](const Value& v, Arguments&) { return v.is<bool>() && !v.truth(); }},
    {"mapping", [](const Value& v, Arguments&) { return v.is_dict(); }},
    {"iterable", [](const Value& v,
                    Arguments&) { return v.is_list() || v.is_dict() || v.is_string() || v.is_undefined(); }},
    {"sequence", [](const Value& v,
                    Arguments&) { return v.is_list() || v.is_dict() || v.is_string() || v.is_undefined(); }},
    {"callable", [](const Value& v, Arguments&) { return v.is_function(); }},
    {"even", [](const Value& v, Arguments&) { return whole(v) % 2 == 0; }},
    {"odd", [](const Value& v, Arguments&) { return whole(v) % 2 != 0; }},
    {"divisibleby", divisible},
    {"lower", [](const Value& v, Arguments&) { return in_case(v, "islower"); }},
    {"upper", [](const Value& v, Arguments&) { return in_case(v, "isupper"); }},
    {"in", [](const Value& v, Arguments& given) { return contains(given.need(0, "seq"), v); }},
    {"sameas", same_object},
    {"eq", same},
    {"equalto", same},
    {"==", same},
    {"ne", differs},
    {"!=", differs},
    {"lt", less},
    {"lessthan", less},
    {"<", less},
    {"le", less_or_equal},
    {"<=", less_or_equal},
    {"gt", greater},
    {"greaterthan", greater},
    {">", greater},
    {"ge", greater_or_equal},
    {">=", greater_or_equal},
};

}  // namespace

bool Run::test(const std::string& name, const Value& input, Arguments& given) {
  for (const auto& [known, passes] : kTests)
    if (name == known) {
      const bool holds = passes(input, given);
      given.all_used("test '" + name + "'");
      return holds;
    }
  std::vector<std::string> names;
  for (const auto& known : kTests) names.emplace_back(known.first);
  throw Problem(cat("got the test '", name, "', want one of ", join(names, ", ")));
}

}  // namespace shoal::text::jinja
