// Whether two tokenizers are one.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace shoal::text {

/// A hash of all that decides what encode gives.
std::string identity(const TokenizerSpec&);

}  // namespace shoal::text
