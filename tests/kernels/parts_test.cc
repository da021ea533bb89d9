#include "kernels/cpu/parts.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace shoal::kernels {
namespace {

TEST(Parts, JoinToTheWhole) {
  for (const auto& [shape, cut, parts] : std::vector<std::tuple<std::vector<int64_t>, graph::Cut, int64_t>>{
           {{12}, {0, 1}, 4}, {{12}, {0, 3}, 2}, {{5, 24}, {1, 3}, 4}, {{24, 5, 2}, {0, 2}, 3}}) {
    const torch::Tensor whole = torch::randn(shape);
    std::vector<torch::Tensor> all;
    for (int p = 0; p < parts; ++p) {
      all.push_back(take_part(whole, cut, parts, p));
      EXPECT_EQ(all.back().size(cut.dim), whole.size(cut.dim) / parts);
    }
    EXPECT_TRUE(torch::equal(join_parts(all, cut), whole));
  }
}

// The rows of a product of query, key and value: each part has its heads of all three.
TEST(Parts, OuterSkipsFromGroupToGroup) {
  const torch::Tensor whole = torch::arange(12);
  EXPECT_TRUE(torch::equal(take_part(whole, {0, 3}, 2, 1), torch::tensor({2, 3, 6, 7, 10, 11})));
}

}  // namespace
}  // namespace shoal::kernels
