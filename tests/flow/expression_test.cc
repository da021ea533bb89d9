#include "flow/expression.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/text.h"
#include "flow/writers.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

Batch rows() {
  const SchemaPtr schema =
      arrow::schema({arrow::field("n", arrow::int64()), arrow::field("x", arrow::float64()),
                     arrow::field("text", arrow::utf8()), arrow::field("flag", arrow::boolean()),
                     arrow::field("odd name", arrow::int64())});
  arrow::Int64Builder n, odd;
  arrow::DoubleBuilder x;
  arrow::StringBuilder text;
  arrow::BooleanBuilder flag;
  EXPECT_TRUE(n.Append(7).ok() && n.Append(-3).ok() && n.AppendNull().ok());
  EXPECT_TRUE(x.AppendValues(std::vector<double>{0.5, 2, -1.5}).ok());
  EXPECT_TRUE(text.AppendValues(std::vector<std::string>{"h\xc3\xa9llo", "World"}).ok() &&
              text.AppendNull().ok());
  EXPECT_TRUE(flag.Append(true).ok() && flag.Append(false).ok() && flag.AppendNull().ok());
  EXPECT_TRUE(odd.AppendValues(std::vector<int64_t>{1, 2, 3}).ok());
  return arrow::RecordBatch::Make(
      schema, 3,
      {n.Finish().ValueOrDie(), x.Finish().ValueOrDie(), text.Finish().ValueOrDie(),
       flag.Finish().ValueOrDie(), odd.Finish().ValueOrDie()});
}

std::string evaluated(const std::string& text) {
  const Batch batch = rows();
  const ArrayPtr result = BoundExpression(text, batch->schema(), "test").evaluate(batch);
  std::string values;
  for (int64_t row = 0; row < 3; ++row) {
    if (row > 0) values += " ";
    if (result->IsNull(row)) values += "null";
    append_value(values, *result, row);
  }
  return values;
}

std::string refused(const std::string& text) {
  try {
    BoundExpression(text, rows()->schema(), "p.toml:3 - filter");
  } catch (const InputError& error) {
    return error.what();
  }
  return "not refused";
}

TEST(Expression, Values) {
  EXPECT_EQ(evaluated("n + 2 * 3"), "13 3 null");
  EXPECT_EQ(evaluated("(n + 2) * 3"), "27 -3 null");
  EXPECT_EQ(evaluated("n / 2"), "3.5 -1.5 null");
  EXPECT_EQ(evaluated("n % 4"), "3 -3 null");
  EXPECT_EQ(evaluated("-n - -1"), "-6 4 null");
  EXPECT_EQ(evaluated("x + n"), "7.5 -1 null");
  EXPECT_EQ(evaluated("length(text)"), "5 5 null");
  EXPECT_EQ(evaluated("bytes(text)"), "6 5 null");
  EXPECT_EQ(evaluated("`odd name` * 1.5e1"), "15 30 45");
  EXPECT_EQ(evaluated("if(n > 0, 'up', 'it''s down')"), "up it's down null");
  EXPECT_EQ(evaluated("concat(lower(text), '!')"), "h\xc3\xa9llo! world! null");
  EXPECT_EQ(evaluated("contains(text, 'or')"), "false true null");
  EXPECT_EQ(evaluated("coalesce(n, 0)"), "7 -3 0");
  EXPECT_EQ(evaluated("int('12') + 1"), "13 13 13");
  EXPECT_EQ(evaluated("slice(text, 1, 3)"), "\xc3\xa9l or null");
}

TEST(Expression, ConditionsTreatNullAsSqlDoes) {
  EXPECT_EQ(evaluated("n > 0 and flag"), "true false null");
  EXPECT_EQ(evaluated("flag or x < 0"), "true false true");
  EXPECT_EQ(evaluated("not flag"), "false true null");
  EXPECT_EQ(evaluated("n is null"), "false false true");
  EXPECT_EQ(evaluated("n is not null and x >= 0.5"), "true true false");
  EXPECT_EQ(evaluated("n in (7, 8)"), "true false null");
  EXPECT_EQ(evaluated("text == 'World'"), "false true null");
  EXPECT_EQ(evaluated("null is null"), "true true true");
}

TEST(Expression, ErrorsNameColumnAndPosition) {
  EXPECT_EQ(refused("n > 0 and txt == 'a'"),
            "p.toml:3 - filter, position 11: unknown column: got txt, want text");
  EXPECT_EQ(refused("lenght(text) > 1"),
            "p.toml:3 - filter, position 1: unknown function: got lenght, want length");
  EXPECT_EQ(refused("1 + length(n)"), "p.toml:3 - filter, position 5: length does not take these: got int64");
  EXPECT_EQ(refused("n = 1"), "p.toml:3 - filter, position 3: got =, want ==");
  EXPECT_EQ(refused("(n + 1"), "p.toml:3 - filter, position 7: got the end, want )");
  EXPECT_EQ(refused("n + 'a'").substr(0, 54), "p.toml:3 - filter, position 3: + does not take these: ");
  EXPECT_EQ(refused("text == 'a"), "p.toml:3 - filter, position 9: a quote ' has no end");
  EXPECT_EQ(refused("n 1"), "p.toml:3 - filter, position 3: got 1, want an operator or the end");
  EXPECT_EQ(refused("x % 2"),
            "p.toml:3 - filter, position 3: % does not take these: got float64, int64, want whole numbers");
  EXPECT_EQ(refused("99999999999999999999"),
            "p.toml:3 - filter, position 1: got 99999999999999999999, want a number");
  EXPECT_EQ(
      refused("contains(text, text)"),
      "p.toml:3 - filter, position 16: contains wants this one written out, as in contains(text, 'part')");
}

/// Of one text; "stops: ..." where it has no value.
std::string of_text(const std::string& expression, const std::optional<std::string>& text) {
  arrow::StringBuilder builder;
  EXPECT_TRUE((text ? builder.Append(*text) : builder.AppendNull()).ok());
  const auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("t", arrow::utf8())}), 1,
                                              {builder.Finish().ValueOrDie()});
  try {
    const ArrayPtr result = BoundExpression(expression, batch->schema(), "test").evaluate(batch);
    std::string value = result->IsNull(0) ? "null" : "";
    append_value(value, *result, 0);
    return value;
  } catch (const JobError& error) {
    return cat("stops: ", error.what());
  }
}

TEST(Expression, Qualities) {
  EXPECT_EQ(of_text("mean_quality(t)", "!5I"), "20");  // scores 0, 20, 40
  EXPECT_EQ(of_text("mean_quality(t)", "~"), "93");
  EXPECT_EQ(of_text("mean_quality(t)", ""), "null");
  EXPECT_EQ(of_text("mean_quality(t)", std::nullopt), "null");
  EXPECT_EQ(of_text("expected_errors(t)", "!+5"), "1.11");  // 1, 0.1, 0.01
  EXPECT_EQ(of_text("expected_errors(t)", ""), "0");
  EXPECT_EQ(of_text("expected_errors(t)", std::nullopt), "null");
  EXPECT_EQ(of_text("expected_errors(t) / length(t) < 0.4 and mean_quality(t) > 9", "!+5"), "true");
  EXPECT_EQ(of_text("mean_quality(t)", "I I"),
            "stops: test: mean_quality(t) - quality: got 'I I', want characters from ! to ~");
  EXPECT_EQ(of_text("expected_errors(t)", "I\x7f").substr(0, 41),
            "stops: test: expected_errors(t) - quality");
  EXPECT_EQ(refused("mean_quality(n)"),
            "p.toml:3 - filter, position 1: mean_quality does not take these: got int64");
}

TEST(Expression, TheOtherStrand) {
  EXPECT_EQ(of_text("reverse_complement(t)", "AACGTN"), "NACGTT");
  EXPECT_EQ(of_text("reverse_complement(t)", "acgRYKMBDHVSW"), "WSBDHVKMRYcgt");
  EXPECT_EQ(of_text("reverse_complement(reverse_complement(t)) == t", "ACGTRYKMSWBDHVNacgtrykmswbdhvn"),
            "true");
  EXPECT_EQ(of_text("reverse_complement(t)", ""), "");
  EXPECT_EQ(of_text("reverse_complement(t)", std::nullopt), "null");
  EXPECT_EQ(of_text("least(t, reverse_complement(t))", "TTG"),
            "CAA");  // of a k-mer and its other strand, the first
  EXPECT_EQ(of_text("reverse_complement(t)", "AC-T"),
            "stops: test: reverse_complement(t) - sequence: got 'AC-T', want bases, or IUPAC's letters for "
            "several");
}

TEST(Expression, OverflowStops) {
  const Batch batch = rows();
  EXPECT_THROW(BoundExpression("n * 9223372036854775807", batch->schema(), "test").evaluate(batch), JobError);
}

}  // namespace
}  // namespace shoal::flow
