// Byte pairs learned from words (Sennrich, Haddow, Birch, "Neural machine translation of rare words with
// subword units", 2016; on bytes as Radford et al., 2019): again and again the two neighbours that come most
// often become one token.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace shoal::text {

struct BpeTraining {
  int64_t vocabulary = 0;            // tokens in all: 256 bytes, what is learned, special ones
  std::vector<std::string> special;  // behind all others; the first ends a text
  std::string pattern = "gpt-2";     // as set_pre_tokenizer knows it: how the words were cut
};

/// Throws InputError "place: ..." for a vocabulary that has no room, or a pattern or special token that is
/// none.
void check_training(const BpeTraining&, const std::string& place);

/// Words, each once, with how often they come. Of pairs that come equally often the one goes first whose
/// bytes are less, the left one's before the right one's: the answer depends on the words and counts alone,
/// whatever their order. Stops where no pair comes twice: then the vocabulary is smaller.
TokenizerSpec train_byte_pairs(const std::vector<std::pair<std::string, int64_t>>& words, const BpeTraining&,
                               const std::string& place);

}  // namespace shoal::text
