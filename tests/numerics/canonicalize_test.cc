#include <gtest/gtest.h>

#include "graph/graph.h"
#include "numerics/passes.h"
#include "support/replaced.h"

namespace shoal::numerics {
namespace {

using graph::Graph;
using graph::parse;
using graph::ValueId;
using test::replaced;

TEST(Canonicalize, SumsOfGradientsBecomeContributions) {
  const std::string text =
      "%0 = parameter \"w\" : f32[2]\n"
      "%1 = aten::neg(%0) : f32[2] @backward\n"
      "%2 = aten::abs(%0) : f32[2] @backward\n"
      "%3 = aten::exp(%0) : f32[2] @backward\n"
      "%4 = aten::add.Tensor(%1, %2, 1) : f32[2] @backward\n"
      "%5 = aten::add.Tensor(%4, %3, 1) : f32[2] @backward\n"
      "gradient \"w\" %5\n";
  EXPECT_EQ(split_gradient_contributions(parse(text)).gradients[0].contributions,
            (std::vector<ValueId>{1, 2, 3}));
  // Not when the sum is scaled or read elsewhere.
  EXPECT_EQ(split_gradient_contributions(parse(replaced(text, "%4, %3, 1", "%4, %3, 2")))
                .gradients[0]
                .contributions,
            (std::vector<ValueId>{5}));
  EXPECT_EQ(split_gradient_contributions(parse(text + "result %4\n")).gradients[0].contributions,
            (std::vector<ValueId>{4, 3}));
}

// A layer that is called three times or more is summed in the graph, as eager does; only its sum with others splits.
TEST(Canonicalize, SumsOfOneLayersGradientsStay) {
  const std::string text =
      "%0 = parameter \"w\" : f32[2,2]\n"
      "%1 = aten::mm(%0, %0) : f32[2,2] @backward\n"
      "%2 = aten::t(%1) : f32[2,2]{1,2} @backward\n"
      "%3 = aten::mm(%0, %0) : f32[2,2] @backward\n"
      "%4 = aten::t(%3) : f32[2,2]{1,2} @backward\n"
      "%5 = aten::mm(%0, %0) : f32[2,2] @backward\n"
      "%6 = aten::t(%5) : f32[2,2]{1,2} @backward\n"
      "%7 = aten::add.Tensor(%2, %4, 1) : f32[2,2]{1,2} @backward\n"
      "%8 = aten::add.Tensor(%7, %6, 1) : f32[2,2]{1,2} @backward\n"
      "%9 = aten::exp(%0) : f32[2,2] @backward\n"
      "%10 = aten::add.Tensor(%8, %9, 1) : f32[2,2] @backward\n"
      "gradient \"w\" %10\n";
  EXPECT_EQ(split_gradient_contributions(parse(text)).gradients[0].contributions,
            (std::vector<ValueId>{8, 9}));
  // The same operator, transposed otherwise, is another layer's.
  EXPECT_EQ(split_gradient_contributions(parse(replaced(text, "%2, %4, 1", "%1, %4, 1")))
                .gradients[0]
                .contributions,
            (std::vector<ValueId>{1, 4, 6, 9}));
}

TEST(Canonicalize, SumsOfEmbeddingGradientsWidenToo) {
  const Graph graph = widen_embedding_gradients(
      parse("%0 = parameter \"w\" : bf16[5,2]\n"
            "%1 = batch \"0\" : i64[3]\n"
            "%2 = aten::embedding(%0, %1, -1, false, false) : bf16[3,2] @forward\n"
            "%3 = aten::embedding_dense_backward(%2, %1, 5, -1, false) : bf16[5,2] @backward\n"
            "%4 = aten::embedding_dense_backward(%2, %1, 5, -1, false) : bf16[5,2] @backward\n"
            "%5 = aten::add.Tensor(%3, %4, 1) : bf16[5,2] @backward\n"
            "gradient \"w\" %5\n"));
  EXPECT_EQ(graph.type(graph.gradients[0].contributions.at(0)).dtype, c10::ScalarType::Float);
  graph::verify(graph, "in a test");
}

TEST(Canonicalize, EmbeddingGradientsWidenButOtherReadersSeeBf16) {
  const std::string text =
      "%0 = parameter \"w\" : bf16[5,2]\n"
      "%1 = batch \"0\" : i64[3]\n"
      "%2 = aten::embedding(%0, %1, -1, false, false) : bf16[3,2] @forward\n"
      "%3 = aten::embedding_dense_backward(%2, %1, 5, -1, false) : bf16[5,2] @backward\n"
      "%4 = aten::neg(%3) : bf16[5,2] @backward\n"
      "result %4\n"
      "gradient \"w\" %3\n";
  const std::string want =
      "%0 = parameter \"w\" : bf16[5,2]\n"
      "%1 = batch \"0\" : i64[3]\n"
      "%2 = aten::embedding(%0, %1, -1, false, false) : bf16[3,2] @forward w\n"
      "%3 = aten::_to_copy(%2, 6, none, none, none, false, none) : f32[3,2] @backward w\n"
      "%4 = aten::embedding_dense_backward(%3, %1, 5, -1, false) : f32[5,2] @backward w\n"
      "%5 = aten::_to_copy(%4, 15, none, none, none, false, none) : bf16[5,2] @backward w\n"
      "%6 = aten::neg(%5) : bf16[5,2] @backward w\n"
      "result %6\n"
      "gradient \"w\" %4\n";
  Graph graph = parse(replaced(text, "\"w\"", "\"w.t\""));
  graph.gradients[0].parameter = "w.t";
  EXPECT_EQ(
      print(canonicalize(std::move(graph))),
      replaced(replaced(want, "parameter \"w\"", "parameter \"w.t\""), "gradient \"w\"", "gradient \"w.t\""));
}

}  // namespace
}  // namespace shoal::numerics
