// One request on its way: its tokens, how far the cache has them, and what its answer needs to go on.
// Whatever happens to its pages or its devices, the tokens stay, and what was computed is computed again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "infer/engine.h"
#include "infer/page_cache.h"

namespace shoal::infer {

struct Sequence {
  uint64_t id = 0;  // the order of arrival, too
  Request request;
  Callbacks callbacks;
  std::function<void(std::vector<float>)> embedded;  // of an embedding: what it is for

  std::vector<Token> tokens;        // the prompt, then the answer
  std::vector<TokenResult> prompt;  // results so far, where they are asked for
  std::vector<double> states;       // of an embedding: sums of the first `num_states` positions
  int64_t num_states = 0;
  std::optional<text::GrammarState> grammar;
  bool prompt_told = false;

  // Of the scheduler that has it.
  std::vector<int32_t> pages;
  PageCache::Prefix prefix = PageCache::kEmpty;  // of the pages before `filled`
  int64_t filled = 0;                            // pages that others may find
  int64_t computed = 0;                          // tokens whose keys lie in the cache
  int64_t under_way = 0;                         // tokens more, in a step that is not done
  uint64_t epoch = 0;                            // counts evictions: a step of an earlier one is void

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t prompt_length() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t answer_length() const { return length() - prompt_length(); }
  /// Positions below this one have given their results: only those may come out of the cache.
  int64_t results_until() const {
    if (embedded) return num_states;
    if (request.prompt_logprobs && static_cast<int64_t>(prompt.size()) + 1 < prompt_length())
      return static_cast<int64_t>(prompt.size());
    return length() - 1;
  }
};

}  // namespace shoal::infer
