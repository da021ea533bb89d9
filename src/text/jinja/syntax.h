// A template as a tree (https://jinja.palletsprojects.com/templates).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace shoal::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Expression {
  enum class Kind {
    kConstant,   // value
    kName,       // name
    kList,       // parts
    kTuple,      // parts
    kDict,       // parts: key, value, key, value...
    kAttribute,  // parts[0].name
    kItem,       // parts[0][parts[1]]
    kSlice,      // parts[0][parts[1]:parts[2]:parts[3]], each of the last three may be null
    kCall,       // parts[0](the other parts, named)
    kFilter,     // parts[0] | name(the other parts, named)
    kTest,       // parts[0] is name(the other parts)
    kNot,
    kNegative,
    kPositive,
    kBinary,  // parts[0] name parts[1]
    kAnd,
    kOr,
    kCompare,   // parts[0] operators[0] parts[1] operators[1] parts[2]...
    kCondition  // parts[0] if parts[1] else parts[2], which may be null
  };
  Kind kind;
  int line = 0;
  std::string name;
  Value value;
  std::vector<ExpressionPtr> parts;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> operators;
};

struct Statement;
using Body = std::vector<std::unique_ptr<const Statement>>;

struct Statement {
  enum class Kind {
    kText,      // name
    kPrint,     // expression
    kIf,        // conditions; one body for each, and one more for else
    kFor,       // target in expression, conditions[0] where there is an `if`; bodies: of the loop, of else
    kSet,       // target = expression
    kSetBlock,  // target = body, through the filters of expression (whose innermost part is null), if any
    kMacro,     // name(parameters)
    kCall,      // call(parameters) expression
    kFilter,    // body through expression, as in kSetBlock
    kWith,      // parameters and their values, body
    kBlock,     // body: {% generation %}
    kBreak,
    kContinue
  };
  Kind kind;
  int line = 0;
  std::string name;
  ExpressionPtr target, expression;
  std::vector<ExpressionPtr> conditions;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // with defaults, or null
  std::vector<Body> bodies;
  bool recursive = false;
};

/// Throws InputError, "place - line N: ...".
Body parse(const std::string& source, const std::string& place);

}  // namespace shoal::text::jinja
