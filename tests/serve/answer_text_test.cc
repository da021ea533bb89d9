// Text of answers: whole characters, stop strings across tokens and never shown in part, tokens with the text they are in.
#include "serve/answer_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "serve/fake_model.h"

namespace shoal::serve {
namespace {

struct Answered {
  std::string text;
  std::vector<Token> tokens;
  std::vector<int64_t> offsets;
  std::vector<std::string> shown;  // after each token
  bool stopped = false;
};

Answered run(const std::vector<Token>& tokens, const std::vector<std::string>& stop) {
  FakeTokenizer tokenizer;
  AnswerText answer(tokenizer, stop);
  Answered run;
  const auto take = [&](const Piece& piece) {
    run.text += piece.text;
    for (const ShownToken& token : piece.tokens) {
      run.tokens.push_back(token.result.token);
      run.offsets.push_back(token.offset);
    }
    run.shown.push_back(run.text);
  };
  for (const Token token : tokens) {
    take(answer.add({token, 0, {}}));
    if (answer.stopped()) break;
  }
  run.stopped = answer.stopped();
  take(answer.finish());
  return run;
}

std::vector<Token> bytes(const std::string& text) {
  std::vector<Token> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

TEST(AnswerText, AStopAcrossTokensIsNeverShownInPart) {
  const Answered got = run(bytes("one END two"), {"END"});
  EXPECT_EQ(got.text, "one ");
  EXPECT_TRUE(got.stopped);
  EXPECT_EQ(got.tokens, bytes("one "));
  for (const std::string& shown : got.shown) EXPECT_EQ(shown.find('E'), std::string::npos) << shown;
}

TEST(AnswerText, WhatOnlyBeginsLikeAStopIsShown) {
  EXPECT_EQ(run(bytes("an EN, and EE"), {"END"}).text, "an EN, and EE");
  EXPECT_EQ(run(bytes("an EN"), {"END"}).text, "an EN");
  EXPECT_FALSE(run(bytes("an EN"), {"END"}).stopped);
}

TEST(AnswerText, ATokenThatIsPartlyBeforeTheStopCounts) {
  // "STOP here" is one token; the stop begins inside of it.
  const Answered got = run({'a', 260, 'b'}, {"here"});
  EXPECT_EQ(got.text, "aSTOP ");
  EXPECT_EQ(got.tokens, (std::vector<Token>{'a', 260}));
}

TEST(AnswerText, CharactersAreWhole) {
  const Answered got = run({'a', 0xC3, 0xA9, 'b', 0xE2, 0x82}, {});
  EXPECT_EQ(got.text, "a\xC3\xA9" "b\xEF\xBF\xBD");
  EXPECT_EQ(got.shown[1], "a");  // after the first byte of the e with an accent
  EXPECT_EQ(got.offsets, (std::vector<int64_t>{0, 1, 1, 2, 3, 3}));
  EXPECT_EQ(got.tokens.size(), 6);
}

TEST(AnswerText, AStopOfCharactersOfSeveralBytes) {
  EXPECT_EQ(run({'a', 261, 0xA9, 'b'}, {"\xC3\xA9"}).text, "a");
}

TEST(AnswerText, IsThatOfTheWholeTextForRandomTokensAndStops) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    const auto letter = [&] { return static_cast<char>('a' + random() % 2); };
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) {
      stop = std::string(1 + random() % 4, 'a');
      std::generate(stop.begin(), stop.end(), letter);
    }
    std::string text(random() % 24, 'a');
    std::generate(text.begin(), text.end(), letter);
    const Answered got = run(bytes(text), stops);
    // With a token for each byte, the stop that is complete first ends the answer; of several, the longest.
    size_t end = std::string::npos, cut = text.size();
    for (const std::string& stop : stops)
      if (const size_t at = text.find(stop); at != std::string::npos) {
        if (at + stop.size() < end || (at + stop.size() == end && at < cut)) cut = at;
        end = std::min(end, at + stop.size());
      }
    EXPECT_EQ(got.text, text.substr(0, cut)) << "seed " << seed;
    EXPECT_EQ(got.stopped, end != std::string::npos) << "seed " << seed;
    EXPECT_EQ(got.tokens, bytes(got.text)) << "seed " << seed;
    // What is shown only grows.
    for (size_t i = 1; i < got.shown.size(); ++i) EXPECT_TRUE(got.shown[i].starts_with(got.shown[i - 1]));
  }
}

TEST(AnswerText, APromptIsItsTextAndItsScores) {
  FakeTokenizer tokenizer;
  const Piece piece = prompt_piece(tokenizer, "Hello a", {257, 258, ' ', 'a'}, {{258, -1, {}}, {' ', -2, {}}, {'a', -3, {}}});
  EXPECT_EQ(piece.text, "Hello a");
  ASSERT_EQ(piece.tokens.size(), 4);
  EXPECT_FALSE(piece.tokens[0].scored);
  EXPECT_EQ(piece.tokens[2].result.logprob, -2);
  EXPECT_EQ(piece.tokens[3].offset, 6);
}

}  // namespace
}  // namespace shoal::serve
