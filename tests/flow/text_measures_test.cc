#include "flow/text_measures.h"

#include <gtest/gtest.h>

#include <string>

#include "flow/expression.h"
#include "flow/writers.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

double measured(const std::string& name, const std::string& text, int64_t number = 0) {
  for (const TextMeasure& measure : text_measures())
    if (measure.name == name) return measure.of(text, number);
  ADD_FAILURE() << name;
  return -1;
}

TEST(TextMeasures, Words) {
  EXPECT_EQ(measured("words", " one two\ttwo\nthree "), 4);
  EXPECT_EQ(measured("unique_words", " one two\ttwo\nthree "), 3);
  EXPECT_EQ(measured("mean_word_length", "a bcd \xd0\xbb\xd0\xb8"), 2);
  EXPECT_EQ(measured("alphabetic_words", "ab 12 -- \xe7\x8b\x90 \xe2\x80\xa2 x1"), 0.5);
  EXPECT_EQ(measured("stop_words", "the cat and the dog that have The"), 4);
}

TEST(TextMeasures, Lines) {
  const std::string text = "- a point\n\n  * another...\nA sentence.\n\xe2\x80\xa2 more\xe2\x80\xa6\n";
  EXPECT_EQ(measured("bullet_lines", text), 0.75);
  EXPECT_EQ(measured("ellipsis_lines", text), 0.5);
  EXPECT_EQ(measured("sentence_lines", text), 0.5);
  EXPECT_EQ(measured("short_lines", text, 10), 0.5);
}

TEST(TextMeasures, Repetition) {
  const std::string text = "ab\ncd\nab\n\nab\n\n\nab\n";
  EXPECT_EQ(measured("repeated_lines", text), 3.0 / 5);
  EXPECT_EQ(measured("repeated_line_characters", text), 6.0 / 18);
  EXPECT_EQ(measured("repeated_paragraphs", text), 1.0 / 3);
  EXPECT_EQ(measured("repeated_paragraph_characters", text), 2.0 / 18);
  // "a b" three times: 3 characters each, of 19
  EXPECT_EQ(measured("top_ngram", "a b x a b y a b z q", 2), 9.0 / 19);
  EXPECT_EQ(measured("top_ngram", "ab c de", 2), 4.0 / 7);  // all once: the first
  // "a b" comes again at words 4 and 7
  EXPECT_EQ(measured("repeated_ngrams", "a b x a b y a b z q", 2), 4.0 / 19);
  EXPECT_EQ(measured("repeated_ngrams", "a a a a a", 2), 4.0 / 9);
}

TEST(TextMeasures, OfNothing) {
  for (const TextMeasure& measure : text_measures())
    for (const std::string text : {"", " ", "\n\n", "x"}) {
      const double number = measure.of(text, 3);
      EXPECT_TRUE(number >= 0 && number <= 1) << measure.name << " of '" << text << "': " << number;
    }
}

TEST(TextMeasures, AreFunctionsOfExpressions) {
  arrow::StringBuilder texts;
  ASSERT_TRUE(texts.Append("some words here").ok() && texts.AppendNull().ok() && texts.Append("").ok());
  const SchemaPtr schema = arrow::schema({arrow::field("text", arrow::utf8())});
  const Batch batch = arrow::RecordBatch::Make(schema, 3, {texts.Finish().ValueOrDie()});
  const auto evaluated = [&](const std::string& text, const Batch& rows) {
    const ArrayPtr result = BoundExpression(text, schema, "test").evaluate(rows);
    std::string values;
    for (int64_t row = 0; row < result->length(); ++row) {
      values += result->IsNull(row) ? " null" : " ";
      append_value(values, *result, row);
    }
    return values;
  };
  EXPECT_EQ(evaluated("words(text)", batch), " 3 null 0");
  EXPECT_EQ(evaluated("words(text) + 1", batch->Slice(1)), " null 1");
  EXPECT_EQ(evaluated("short_lines(text, 15) >= 1 and words(text) > 2", batch), " true null false");
  EXPECT_EQ(evaluated("words('a b')", batch), " 2 2 2");
  EXPECT_EQ(evaluated("top_ngram(text, 3)", batch), " 1 null 0");
  try {
    BoundExpression("top_ngram(text)", schema, "test");
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "test, position 1: top_ngram does not take 1: want top_ngram(text, 2)");
  }
  try {
    BoundExpression("short_lines(text, 'x')", schema, "test");
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "test, position 19: short_lines wants this one written out, as in short_lines(text, 30)");
  }
}

}  // namespace
}  // namespace shoal::flow
