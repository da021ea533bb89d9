// What the server serves: an engine with its tokenizer, chat template and grammars, as one small interface, so
// that tests of the server can put something scripted in its place.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "text/constraint.h"
#include "text/tokenizer.h"

namespace shoal::serve {

using text::Token;

struct ModelFacts {
  std::string name;         // what clients call it
  std::string description;  // for the start-up line: architecture, layout, cache
  std::string fingerprint;  // of what decides answers: never of the layout
  int64_t context = 0;      // tokens of prompt and answer together
  Token vocabulary = 0;     // tokens
  int64_t created = 0;      // seconds since 1970, of the file
};

/// Any thread. Functions that take what a client sent throw InputError.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelFacts& facts() const = 0;
  virtual const text::Tokenizer& tokenizer() const = 0;
  /// The tokens of a chat ([{"role", "content"}...]), up to where the assistant speaks.
  virtual std::vector<Token> chat_prompt(const nlohmann::ordered_json& messages) const = 0;
  virtual std::shared_ptr<const text::Grammar> gbnf(const std::string& text) const = 0;
  virtual std::shared_ptr<const text::Grammar> schema(const nlohmann::ordered_json&) const = 0;
  virtual std::shared_ptr<const text::Grammar> any_object() const = 0;

  /// As infer::Engine has them.
  virtual uint64_t submit(infer::Request, infer::Callbacks) = 0;
  virtual void cancel(uint64_t id) = 0;
  virtual std::vector<float> embed(const std::vector<Token>&) = 0;
  virtual infer::EngineState state() const = 0;
};

/// The real one: opens the model at `path` and starts its devices. `name` "": that of the file.
std::shared_ptr<Model> load_model(const std::string& path, const std::string& name, const infer::EngineOptions&);

}  // namespace shoal::serve
