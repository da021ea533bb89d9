// A template's text and tags, and what stands in the tags.
#pragma once

#include <string>
#include <vector>

namespace shoal::text::jinja {

struct Lexeme {
  enum class Kind {
    kText,
    kPrintBegin,
    kPrintEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind;
  int line;
  std::string text;  // of strings, what they stand for
};

/// With trim_blocks and lstrip_blocks, as Transformers sets them. Throws InputError.
std::vector<Lexeme> lex(const std::string& source, const std::string& place);

}  // namespace shoal::text::jinja
