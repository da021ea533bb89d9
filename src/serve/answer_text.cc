#include "serve/answer_text.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace shoal::serve {

int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

void Piece::append(Piece more) {
  text += more.text;
  tokens.insert(tokens.end(), std::make_move_iterator(more.tokens.begin()),
                std::make_move_iterator(more.tokens.end()));
}

Piece prompt_piece(const text::Tokenizer& tokenizer, const std::string& text,
                   const std::vector<text::Token>& tokens, std::vector<infer::TokenResult> scores) {
  Piece piece{text, {}};
  text::Utf8Stream stream;
  int64_t offset = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    ShownToken shown;
    if (i > 0 && i <= scores.size()) shown.result = std::move(scores[i - 1]);
    shown.result.token = tokens[i];
    shown.bytes = tokenizer.piece(tokens[i]);
    shown.offset = offset;
    shown.scored = i > 0;
    offset += characters(stream.add(shown.bytes));
    piece.tokens.push_back(std::move(shown));
  }
  return piece;
}

AnswerText::AnswerText(const text::Tokenizer& tokenizer, std::vector<std::string> stop, int64_t offset)
    : tokenizer_(tokenizer), stop_(std::move(stop)), offset_(offset) {}

Piece AnswerText::add(const infer::TokenResult& result, bool shows) {
  if (!shows) return {};
  std::string bytes = tokenizer_.piece(result.token);
  const std::string more = characters_.add(bytes);
  const size_t begin = shown_ + waiting_.size();
  tokens_.push_back({{result, std::move(bytes), offset_}, begin, begin + more.size()});
  return take(more);
}

Piece AnswerText::finish() {
  if (stopped_) return {};
  Piece piece = take(characters_.finish());
  if (stopped_) return piece;
  piece.append(show_until(shown_ + waiting_.size()));
  return piece;
}

Piece AnswerText::take(std::string more) {
  offset_ += characters(more);
  waiting_ += more;
  // The earliest stop wins; where two begin at one place, they end the text alike.
  size_t first = std::string::npos;
  for (const std::string& stop : stop_) first = std::min(first, waiting_.find(stop));
  if (first == std::string::npos) return show_until(shown_ + waiting_.size() - held_back());
  stopped_ = true;
  const size_t end = shown_ + first;
  Piece piece = show_until(end);
  // A token that began before the stop was shown in part: it counts as shown.
  for (Held& held : tokens_)
    if (held.begin < end) piece.tokens.push_back(std::move(held.token));
  tokens_.clear();
  return piece;
}

/// Bytes at the end of what waits that a stop string may begin with.
size_t AnswerText::held_back() const {
  size_t most = 0;
  for (const std::string& stop : stop_)
    for (size_t size = std::min(stop.size() - 1, waiting_.size()); size > most; --size)
      if (std::string_view(waiting_).ends_with(std::string_view(stop).substr(0, size))) most = size;
  return most;
}

Piece AnswerText::show_until(size_t end) {
  Piece piece;
  // Never half a character: stop strings may begin inside of one only where they are no UTF-8, which JSON excludes.
  piece.text = waiting_.substr(0, end - shown_);
  waiting_.erase(0, end - shown_);
  shown_ = end;
  while (!tokens_.empty() && tokens_.front().end <= end) {
    piece.tokens.push_back(std::move(tokens_.front().token));
    tokens_.pop_front();
  }
  return piece;
}

}  // namespace shoal::serve
