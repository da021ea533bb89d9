// From a step's results to answers.
#include <algorithm>
#include <cmath>

#include "infer/engine_impl.h"

namespace shoal::infer {

void Engine::Impl::take_states(Sequence& sequence, const StepPart& part, const float* states) {
  const auto width = static_cast<size_t>(config.width);
  sequence.states.resize(width);
  for (int64_t row = 0; row < part.results; ++row, ++sequence.num_states) {
    const float* const state = states + static_cast<size_t>(part.first_result + row) * width;
    for (size_t i = 0; i < width; ++i) sequence.states[i] += static_cast<double>(state[i]);
  }
  if (sequence.num_states < sequence.length()) return;
  // The mean of n has the direction of the sum.
  double square = 0;
  for (const double element : sequence.states) square += element * element;
  const double scale = square > 0 ? 1 / std::sqrt(square) : 0;
  std::vector<float> state(width);
  for (size_t i = 0; i < width; ++i) state[i] = static_cast<float>(sequence.states[i] * scale);
  sequence.embedded(std::move(state));
  finish(sequence, Finish::kStop);
}

void Engine::Impl::take_logits(Sequence& sequence, const StepPart& part, const float* logits) {
  const auto vocabulary = static_cast<size_t>(config.vocabulary);
  const Request& request = sequence.request;
  const int64_t first = part.first + part.rows - part.results;
  for (int64_t row = 0; row < part.results; ++row) {
    const std::span<const float> these(logits + static_cast<size_t>(part.first_result + row) * vocabulary,
                                       vocabulary);
    const int64_t next = first + row + 1;  // the place that they speak of
    if (request.prompt_logprobs && next < sequence.prompt_length())
      sequence.prompt.push_back(sampler->describe(these, sequence.tokens[static_cast<size_t>(next)],
                                                  std::max(0, request.alternatives)));
    if (next < sequence.length()) continue;
    if (request.prompt_logprobs && !sequence.prompt_told) {
      sequence.prompt_told = true;
      if (sequence.callbacks.prompt) sequence.callbacks.prompt(sequence.prompt);
    }
    if (request.max_tokens == 0) return finish(sequence, Finish::kLength);
    if (!next_token(sequence, these)) return;
  }
}

// False when the answer has ended.
bool Engine::Impl::next_token(Sequence& sequence, std::span<const float> logits) {
  const Request& request = sequence.request;
  const std::span<const Token> tokens(sequence.tokens);
  const auto prompt_length = static_cast<size_t>(sequence.prompt_length());
  std::vector<uint64_t> allowed;
  if (sequence.grammar) sequence.grammar->allowed(allowed);
  const Token token = sampler->choose(logits, request.sampling,
                                      {.prompt = tokens.first(prompt_length),
                                       .answer = tokens.subspan(prompt_length),
                                       .position = request.sampling.first_draw + sequence.answer_length(),
                                       .allowed = sequence.grammar ? &allowed : nullptr});
  if (token < 0) {
    finish(sequence, Finish::kFailed,
           "model - logits: got none that are numbers, want one for each token; the weights may be damaged");
    return false;
  }
  TokenResult result{token, 0, {}};
  if (request.alternatives >= 0) result = sampler->describe(logits, token, request.alternatives);
  sequence.tokens.push_back(token);
  ++counters.answer_tokens;
  if (sequence.callbacks.token) sequence.callbacks.token(result);
  const bool is_end = std::ranges::find(request.stop_tokens, token) != request.stop_tokens.end() ||
                      (sequence.grammar && ends.contains(token));
  if (is_end || sequence.answer_length() >= request.max_tokens) {
    finish(sequence, is_end ? Finish::kStop : Finish::kLength);
    return false;
  }
  if (sequence.grammar) sequence.grammar->accept(token);
  return true;
}

}  // namespace shoal::infer
