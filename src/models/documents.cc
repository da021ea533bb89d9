#include "models/documents.h"

#include <ATen/Functions.h>

namespace shoal::models {

std::optional<torch::Tensor> document_mask(const torch::Tensor& tokens_BT, int64_t end_of_document) {
  if (end_of_document < 0) return std::nullopt;
  const auto ends_BT = tokens_BT.eq(end_of_document).to(at::kLong);
  const auto number_BT = ends_BT.cumsum(1) - ends_BT;  // how many documents ended before
  const auto place_T = at::arange(tokens_BT.size(1), tokens_BT.options());
  const auto before_TT = place_T.unsqueeze(0) <= place_T.unsqueeze(1);
  return ((number_BT.unsqueeze(2) == number_BT.unsqueeze(1)) & before_TT).unsqueeze(1);
}

}  // namespace shoal::models
