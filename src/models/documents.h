// Several documents in one window of tokens, each of which ends with a token of its own.
#pragma once

#include <torch/types.h>

#include <optional>

namespace shoal::models {

/// What each token may look at: itself and what stands before it in its own document, of which the end is a part.
/// tokens [B,T] -> bool [B,1,T,T], true at (b, 0, t, s) where token t sees token s. Nothing without an end (-1): each
/// sees all before it.
std::optional<torch::Tensor> document_mask(const torch::Tensor& tokens_BT, int64_t end_of_document);

}  // namespace shoal::models
