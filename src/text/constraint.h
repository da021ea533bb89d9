// Which tokens may come next, so that an answer has a given form: a grammar in GBNF (llama.cpp's notation),
// or a JSON schema (https://json-schema.org, the part in docs/constraints.md), which becomes such a grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace shoal::text {

/// A grammar together with a vocabulary. Immutable.
class Grammar {
 public:
  virtual ~Grammar() = default;
};
/// Throw InputError where the text is no grammar, or the schema asks for what is not supported, named by its
/// JSON pointer. The tokenizer must outlive the grammar.
std::shared_ptr<const Grammar> parse_gbnf(const std::string& text, const Tokenizer&);
std::shared_ptr<const Grammar> grammar_of_schema(const nlohmann::ordered_json& schema, const Tokenizer&);
/// Any JSON object: what `response_format: {"type": "json_object"}` asks for.
std::shared_ptr<const Grammar> any_json_object(const Tokenizer&);

/// Where one answer stands in its grammar. Copying it is cheap enough to try things. Not thread-safe.
class GrammarState {
 public:
  explicit GrammarState(std::shared_ptr<const Grammar>);
  ~GrammarState();
  GrammarState(const GrammarState&);
  /// One bit for each token, in words of 64: whether it may come next. The tokens that end an answer
  /// (Tokenizer::is_end) may where the grammar can end here. Never all zero: where nothing fits, the ends.
  void allowed(std::vector<uint64_t>& mask) const;
  /// REQUIRES: the token is allowed.
  void accept(Token);
  bool can_end() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::text
