// Expressions: "length(text) > 10 and lang == 'en'" becomes one of Arrow's compute expressions, bound to the
// columns that are there.
//
//   or, and, not                    with nulls as in SQL
//   == != < <= > >=  is null  is not null  in (1, 2)
//   + - * / %                       of whole numbers: whole, an overflow stops the run; / is of fractions
//   always 12  1.5  'text' (a quote in it is written twice)  true  false  null  name  `any name`  f(x, ...)
//
// docs/data_engine.md lists the functions.
#pragma once

#include <arrow/compute/expression.h>

#include <string>
#include <vector>

#include "flow/arrow.h"

namespace shoal::flow {

/// Belongs to one thread.
class BoundExpression {
 public:
  /// Throws InputError "place, position 8: ...", positions from 1, for what is not an expression, a column
  /// that is not there, or a function that does not take these types.
  BoundExpression(const std::string& text, SchemaPtr schema, const std::string& place);

  std::shared_ptr<arrow::DataType> type() const;
  /// The columns that it looks at.
  Names columns() const;
  /// One value for each row. Throws JobError where a value has none (an overflow, "x" as a number).
  ArrayPtr evaluate(const Batch&) const;

 private:
  std::string text_, place_;
  SchemaPtr schema_;
  arrow::compute::Expression bound_;
};

/// The functions that expressions know, for the documentation's test.
std::vector<std::string> expression_functions();

}  // namespace shoal::flow
