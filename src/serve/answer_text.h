// The tokens of one answer, as text that can be shown: whole characters only, and nothing that may yet turn out to
// be part of a stop string.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "infer/engine.h"
#include "text/tokenizer.h"

namespace shoal::serve {

/// A token with its place in the text.
struct ShownToken {
  infer::TokenResult result;
  std::string bytes;    // what it stands for
  int64_t offset = 0;   // in characters from the text's beginning
  bool scored = true;   // false: the first of a prompt, which has no log-probability
};

struct Piece {
  std::string text;
  std::vector<ShownToken> tokens;
  bool empty() const { return text.empty() && tokens.empty(); }
  void append(Piece);
};

/// Not thread-safe.
class AnswerText {
 public:
  /// `offset`: characters that stand before the answer. The tokenizer must outlive it.
  AnswerText(const text::Tokenizer&, std::vector<std::string> stop, int64_t offset = 0);

  /// What can be shown after this token; `shows` false for one that only ends the answer. REQUIRES: not stopped().
  Piece add(const infer::TokenResult&, bool shows = true);
  /// A stop string has come. Its text and all after it is never shown, nor tokens that begin in it.
  bool stopped() const { return stopped_; }
  /// What was held back. REQUIRES: once, at the end. After a stop there is nothing.
  Piece finish();

 private:
  struct Held {
    ShownToken token;
    size_t begin, end;  // bytes of the text
  };
  Piece take(std::string more);
  size_t held_back() const;
  Piece show_until(size_t end);

  const text::Tokenizer& tokenizer_;
  const std::vector<std::string> stop_;
  text::Utf8Stream characters_;
  std::string waiting_;     // text that is not yet shown
  size_t shown_ = 0;        // bytes that are
  int64_t offset_;          // characters before the next token
  std::deque<Held> tokens_;  // not yet shown
  bool stopped_ = false;
};

/// A prompt as such a piece: its `text`, and its tokens with the scores of all but the first.
Piece prompt_piece(const text::Tokenizer&, const std::string& text, const std::vector<text::Token>&,
                   std::vector<infer::TokenResult> scores);

/// Characters of a UTF-8 text.
int64_t characters(std::string_view);

}  // namespace shoal::serve
