// Which tokens end an answer.
#pragma once

#include "text/tokenizer.h"

namespace shoal::formats {

/// Adds to spec.ends, each once: `ends` as far as they are tokens, and the control tokens that end turns by
/// their names, whatever else a file says of them.
void add_ends(text::TokenizerSpec&, const std::vector<int64_t>& ends);

}  // namespace shoal::formats
