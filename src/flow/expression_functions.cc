#include "flow/expression_functions.h"

#include <arrow/compute/api.h>

#include "flow/text_measures.h"

namespace shoal::flow {
namespace {
namespace ac = arrow::compute;
using Arguments = std::vector<ac::Expression>;

ExpressionFunction plain(const char* function, int arguments, const char* names) {
  return {arguments, arguments, 99, [function](const Arguments& a) { return ac::call(function, a); }, names};
}

ExpressionFunction cast_to(std::shared_ptr<arrow::DataType> type) {
  return {1, 1, 99, [type](const Arguments& a) { return ac::call("cast", a, ac::CastOptions::Safe(type)); },
          "x"};
}

ExpressionFunction matching(const char* function) {
  return {2, 2, 1,
          [function](const Arguments& a) {
            return ac::call(function, {a[0]}, ac::MatchSubstringOptions(literal_text(a[1])));
          },
          "text, 'part'"};
}

ExpressionFunction replacing(const char* function) {
  return {3, 3, 1,
          [function](const Arguments& a) {
            return ac::call(function, {a[0]},
                            ac::ReplaceSubstringOptions(literal_text(a[1]), literal_text(a[2])));
          },
          "text, 'from', 'to'"};
}

ExpressionFunction measured(const TextMeasure& measure) {
  const int arguments = measure.takes ? 2 : 1;
  return {arguments, arguments, 1,
          [name = std::string("shoal_") + measure.name](const Arguments& a) { return ac::call(name, a); },
          measure.takes ? measure.takes : "text", true};
}

}  // namespace

std::string literal_text(const ac::Expression& e) {
  return e.literal()->scalar_as<arrow::StringScalar>().value->ToString();
}
int64_t literal_number(const ac::Expression& e) { return e.literal()->scalar_as<arrow::Int64Scalar>().value; }

const std::map<std::string, ExpressionFunction>& function_table() {
  static const std::map<std::string, ExpressionFunction> kTable = [] {
    std::map<std::string, ExpressionFunction> table = {
      {"length", plain("utf8_length", 1, "text")},
      {"bytes", plain("binary_length", 1, "text")},
      {"lower", plain("utf8_lower", 1, "text")},
      {"upper", plain("utf8_upper", 1, "text")},
      {"trim", plain("utf8_trim_whitespace", 1, "text")},
      {"reverse", plain("utf8_reverse", 1, "text")},
      {"contains", matching("match_substring")},
      {"starts_with", matching("starts_with")},
      {"ends_with", matching("ends_with")},
      {"matches", matching("match_substring_regex")},
      {"count_of", matching("count_substring")},
      {"replace", replacing("replace_substring")},
      {"replace_regex", replacing("replace_substring_regex")},
      {"slice",
       {3, 3, 1,
        [](const Arguments& a) {
          return ac::call("utf8_slice_codeunits", {a[0]},
                          ac::SliceOptions(literal_number(a[1]), literal_number(a[2])));
        },
        "text, 0, 10", true}},
      {"concat",
       {2, 16, 99,
        [](Arguments a) {
          a.push_back(ac::literal(std::string()));
          return ac::call("binary_join_element_wise", a, ac::JoinOptions());
        },
        "text, text, ..."}},
      {"mean_quality", plain("shoal_mean_quality", 1, "quality")},
      {"expected_errors", plain("shoal_expected_errors", 1, "quality")},
      {"reverse_complement", plain("shoal_reverse_complement", 1, "sequence")},
      {"abs", plain("abs_checked", 1, "x")},
      {"floor", plain("floor", 1, "x")},
      {"ceil", plain("ceil", 1, "x")},
      {"round", plain("round", 1, "x")},
      {"sqrt", plain("sqrt", 1, "x")},
      {"is_nan", plain("is_nan", 1, "x")},
      {"if", plain("if_else", 3, "condition, x, y")},
      {"coalesce", {2, 16, 99, [](const Arguments& a) { return ac::call("coalesce", a); }, "x, y, ..."}},
      {"least",
       {2, 16, 99,
        [](const Arguments& a) { return ac::call("min_element_wise", a, ac::ElementWiseAggregateOptions()); },
        "x, y, ..."}},
      {"greatest",
       {2, 16, 99,
        [](const Arguments& a) { return ac::call("max_element_wise", a, ac::ElementWiseAggregateOptions()); },
        "x, y, ..."}},
      {"int", cast_to(arrow::int64())},
      {"float", cast_to(arrow::float64())},
      {"text", cast_to(arrow::utf8())},
      {"year", plain("year", 1, "date")},
      {"month", plain("month", 1, "date")},
      {"day", plain("day", 1, "date")},
    };
    for (const TextMeasure& measure : text_measures()) table.emplace(measure.name, measured(measure));
    return table;
  }();
  return kTable;
}

}  // namespace shoal::flow
