#include "infer/scheduler.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>

namespace shoal::infer {
namespace {

ScheduleOptions options_of(int64_t pages, int64_t rows = 8, int64_t sequences = 4, int64_t steps = 1) {
  ScheduleOptions options;
  options.pages = pages, options.steps = steps;
  options.limits = {.rows = rows,
                    .sequences = sequences,
                    .pages = sequences * pages,
                    .logits = std::max(sequences, rows / 2)};
  return options;
}

std::unique_ptr<Sequence> sequence_of(uint64_t id, std::vector<Token> prompt, int64_t answer,
                                      const std::string& client = "") {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->tokens = prompt;
  sequence->request.prompt = std::move(prompt);
  sequence->request.max_tokens = answer;
  sequence->request.client = client;
  return sequence;
}

// What stands for all tokens up to a place, and for the model: the next token is a function of it.
uint64_t after(uint64_t history, Token token) {
  return (history ^ static_cast<uint64_t>(token + 1)) * 0x9E3779B97F4A7C15u + (history >> 7);
}
Token next_token(uint64_t history) { return static_cast<Token>(history >> 33) % 3; }

std::vector<Token> alone(const std::vector<Token>& prompt, int64_t answer) {
  uint64_t history = 0;
  for (const Token token : prompt) history = after(history, token);
  std::vector<Token> tokens;
  for (int64_t i = 0; i < answer; ++i) {
    tokens.push_back(next_token(history));
    history = after(history, tokens.back());
  }
  return tokens;
}

// Devices that keep histories where others keep keys; they find out when a page holds another's.
class Devices {
 public:
  explicit Devices(int64_t pages) : places_(static_cast<size_t>(pages * kPageTokens), 0) {}
  std::vector<uint64_t> run(const StepData& data) {
    std::vector<uint64_t> at_row(data.tokens.size());
    for (const SequenceRows& one : data.sequences)
      for (int32_t row = one.first_row; row < one.first_row + one.rows; ++row) {
        const int32_t position = data.positions[static_cast<size_t>(row)];
        EXPECT_EQ(position, one.length - one.rows + row - one.first_row);
        const auto place = [&](int32_t p) {
          return static_cast<size_t>(data.pages[static_cast<size_t>(one.first_page + p / kPageTokens)] *
                                         kPageTokens +
                                     p % kPageTokens);
        };
        EXPECT_EQ(place(position), static_cast<size_t>(data.places[static_cast<size_t>(row)]));
        const uint64_t before = position == 0 ? 0 : places_[place(position - 1)];
        at_row[static_cast<size_t>(row)] = places_[place(position)] =
            after(before, data.tokens[static_cast<size_t>(row)]);
        for (int32_t p = 0; p < position; ++p) EXPECT_NE(places_[place(p)], 0u);
      }
    return at_row;
  }
  void forget() { std::ranges::fill(places_, 0); }

 private:
  std::vector<uint64_t> places_;
};

TEST(Scheduler, AnswersGoFirstAndPromptsFillUp) {
  Scheduler scheduler(options_of(8));
  FairQueue queue;
  const auto one = sequence_of(1, {1, 2, 3}, 5), two = sequence_of(2, std::vector<Token>(10, 4), 5);
  queue.add(*one);
  Step step = *scheduler.next_step(queue, 4);
  EXPECT_EQ(step.data.tokens, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(step.data.results, (std::vector<int32_t>{2}));
  scheduler.done(step);
  one->tokens.push_back(9);
  queue.add(*two);
  step = *scheduler.next_step(queue, 4);
  EXPECT_EQ(step.data.tokens, (std::vector<int32_t>{9, 4, 4, 4, 4, 4, 4, 4}));
  EXPECT_EQ(step.data.results, (std::vector<int32_t>{0}));
  EXPECT_EQ(step.parts[1].results, 0);
}

TEST(Scheduler, TheLastToComeYieldsAndComesBack) {
  Scheduler scheduler(options_of(3, 64));
  FairQueue queue;
  const auto one = sequence_of(1, std::vector<Token>(kPageTokens, 1), 40),
             two = sequence_of(2, std::vector<Token>(15, 2), 40);
  queue.add(*one), queue.add(*two);
  scheduler.done(*scheduler.next_step(queue, 4));
  EXPECT_EQ(scheduler.running(), 2);
  for (int i = 0; i < 17; ++i) {
    one->tokens.push_back(1);
    scheduler.done(*scheduler.next_step(queue, 4));
  }
  EXPECT_EQ(scheduler.sequences(), std::vector<Sequence*>{one.get()});
  EXPECT_EQ(queue.next(), two.get());
  EXPECT_EQ(scheduler.preempted(), 1);
  scheduler.leave(*one);
  EXPECT_TRUE(scheduler.next_step(queue, 4));
  EXPECT_EQ(scheduler.sequences(), std::vector<Sequence*>{two.get()});
}

TEST(Scheduler, ClientsTakeTurns) {
  FairQueue queue;
  std::vector<std::unique_ptr<Sequence>> all;
  for (uint64_t id = 1; id <= 3; ++id) all.push_back(sequence_of(id, {1}, 1, "many"));
  all.push_back(sequence_of(4, {1}, 1, "one"));
  for (const auto& sequence : all) queue.add(*sequence);
  std::vector<uint64_t> order;
  while (Sequence* const next = queue.next()) {
    order.push_back(next->id);
    queue.take(*next);
  }
  EXPECT_EQ(order, (std::vector<uint64_t>{1, 4, 2, 3}));
}

// Random requests, cancels, restarts and sizes: each answer is that of its request alone, and nothing
// starves.
void run_randomly(uint32_t seed) {
  std::mt19937 random(seed);
  const auto between = [&](int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random()) % (most - least + 1);
  };
  const int64_t pages = between(4, 12), steps = between(1, 2);
  const ScheduleOptions options = options_of(pages, between(4, 40), between(1, 4), steps);
  Scheduler scheduler(options);
  Devices devices(pages);
  FairQueue queue;
  std::vector<std::unique_ptr<Sequence>> waiting, all;
  const int64_t longest = pages * kPageTokens;
  for (uint64_t id = 1; id <= 12; ++id) {
    const int64_t prompt = between(1, longest - 1);
    std::vector<Token> tokens;
    for (int64_t i = 0; i < prompt; ++i)
      tokens.push_back(i < 40 ? static_cast<Token>(id % 2) : static_cast<Token>(between(0, 2)));
    waiting.push_back(sequence_of(id, tokens, std::min<int64_t>(between(1, 20), longest - prompt + 1),
                                  between(0, 1) ? "a" : "b"));
    waiting.back()->request.prompt_logprobs = between(0, 3) == 0;
  }
  struct UnderWay {
    Step step;
    std::vector<uint64_t> histories;
  };
  std::deque<UnderWay> under_way;
  size_t left = waiting.size();
  for (int round = 0; left > 0; ++round) {
    ASSERT_LT(round, 20000) << "nothing goes on any more";
    if (!waiting.empty() && between(0, 2) == 0) {
      queue.add(*waiting.back());
      all.push_back(std::move(waiting.back()));
      waiting.pop_back();
    }
    if (between(0, 200) == 0) {  // devices die
      under_way.clear();
      for (Sequence* const one : scheduler.reset()) queue.add(*one);
      devices.forget();
    }
    if (between(0, 60) == 0 && scheduler.running() > 0) {  // a cancel
      Sequence* const one = scheduler.sequences()[static_cast<size_t>(between(0, scheduler.running() - 1))];
      scheduler.leave(*one);
      std::erase_if(all, [&](const auto& kept) { return kept.get() == one; });
      --left;
    }
    if (static_cast<int64_t>(under_way.size()) < steps)
      if (auto step = scheduler.next_step(queue, options.limits.sequences)) {
        EXPECT_LE(static_cast<int64_t>(step->data.tokens.size()), options.limits.rows);
        EXPECT_LE(static_cast<int64_t>(step->parts.size()), options.limits.sequences);
        EXPECT_LE(step->data.num_logits, options.limits.logits);
        auto histories = devices.run(step->data);
        under_way.push_back({std::move(*step), std::move(histories)});
      }
    if (under_way.empty() || (static_cast<int64_t>(under_way.size()) < steps && between(0, 1) == 0)) continue;
    const auto [step, histories] = std::move(under_way.front());
    under_way.pop_front();
    const std::vector<bool> stands = scheduler.done(step);
    for (size_t i = 0; i < stands.size(); ++i) {
      if (!stands[i]) continue;
      const StepPart& part = step.parts[i];
      Sequence& sequence = *part.sequence;
      for (int64_t result = 0; result < part.results; ++result) {
        const int64_t next = part.first + part.rows - part.results + result + 1;
        const uint64_t history = histories[static_cast<size_t>(
            step.data.results[static_cast<size_t>(part.first_result + result)])];
        if (sequence.request.prompt_logprobs && next < sequence.prompt_length()) {
          EXPECT_EQ(static_cast<int64_t>(sequence.prompt.size()) + 1, next);
          sequence.prompt.push_back({next_token(history), 0, {}});
        }
        if (next == sequence.length()) sequence.tokens.push_back(next_token(history));
      }
      if (sequence.answer_length() < sequence.request.max_tokens) continue;
      const std::vector<Token> answer(sequence.tokens.begin() + sequence.prompt_length(),
                                      sequence.tokens.end());
      EXPECT_EQ(answer, alone(sequence.request.prompt, sequence.request.max_tokens));
      if (sequence.request.prompt_logprobs) {
        for (size_t at = 0; at < sequence.prompt.size(); ++at) {
          const auto begin = sequence.request.prompt.begin();
          EXPECT_EQ(sequence.prompt[at].token, alone({begin, begin + static_cast<int64_t>(at) + 1}, 1)[0]);
        }
      }
      scheduler.leave(sequence);
      std::erase_if(all, [&](const auto& kept) { return kept.get() == &sequence; });
      --left;
    }
  }
  EXPECT_EQ(scheduler.cache().held(), 0);
}

TEST(Scheduler, NothingChangesAnAnswer) {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    run_randomly(seed);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace shoal::infer
