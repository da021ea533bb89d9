// Texts that an engine writes on from prompts, and how likely a text is.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "infer/engine.h"
#include "text/tokenizer.h"

namespace shoal::app {

struct GenerateOptions {
  int64_t tokens = 200;    // at most; a token that ends an answer ends the text before that
  double temperature = 0;  // 0: always the likeliest token
  int64_t top_k = 0;       // sample among this many likeliest tokens; 0: among all
  double top_p = 1;        // among the likeliest that have this probability together
  uint64_t seed = 1;
};

struct Generated {
  std::string text;  // what follows the prompt, as bytes
  int64_t tokens = 0;
  bool has_ended = false;  // by a token that ends it, not by `tokens`
};

/// What follows each prompt, in order, each as soon as it and those before are there: `done` is called on
/// this thread. Only the last context() tokens of a text are looked at. Random numbers are keyed by (seed,
/// number of the prompt, position). Throws JobError where the engine has failed, and what `done` throws.
/// REQUIRES: prompts are not empty. Prompts before `first` are left out, and keep their numbers.
void generate_all(infer::Engine&, const text::Tokenizer&, const std::vector<std::string>& prompts,
                  size_t first, const GenerateOptions&,
                  const std::function<void(size_t number, const Generated&)>& done);

struct Score {
  std::vector<text::Token> tokens;
  std::vector<float> logprobs;  // natural; NaN of a token that nothing precedes
  double sum = 0;               // of those that are numbers, in order
  int64_t scored = 0;           // how many those are
};

/// How likely the model finds a text. One longer than the context is cut into parts of that length, each
/// scored by itself. Throws JobError where the engine has failed.
Score score_text(infer::Engine&, const text::Tokenizer&, const std::string& text);

}  // namespace shoal::app
