// The table of functions that an expression may call.
#pragma once

#include <arrow/compute/expression.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace shoal::flow {

struct ExpressionFunction {
  int least = 1, most = 1;  // arguments
  int literals_from = 99;   // arguments from this one on are written texts or numbers, never columns
  std::function<arrow::compute::Expression(const std::vector<arrow::compute::Expression>&)> make;
  const char* arguments = "x";
  bool literals_are_numbers = false;
};

const std::map<std::string, ExpressionFunction>& function_table();

/// An argument that is written out. REQUIRES: it is a literal of that kind.
std::string literal_text(const arrow::compute::Expression&);
int64_t literal_number(const arrow::compute::Expression&);

}  // namespace shoal::flow
