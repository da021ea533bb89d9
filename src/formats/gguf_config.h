// What a GGUF file says of the model and of its tokenizer, in our words.
#pragma once

#include "formats/gguf.h"
#include "formats/model_file.h"

namespace shoal::formats {

/// Throws InputError for architectures and settings that are not supported.
ModelConfig gguf_config(const GgufFile&);

/// As many tokens as `vocabulary`. Throws InputError.
text::TokenizerSpec gguf_tokenizer(const GgufFile&, int64_t vocabulary);

}  // namespace shoal::formats
