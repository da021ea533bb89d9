#include "graph/graph.h"

#include <gtest/gtest.h>

#include <limits>

#include "graph/passes.h"
#include "shoal/error.h"
#include "support/expect_error.h"
#include "support/replaced.h"

namespace shoal::graph {
namespace {

using test::replaced;

// The example of docs/graph.md.
const std::string kExample =
    "%0 = parameter \"weight\" : f32[3,4]\n"
    "%1 = batch \"0\" : f32[2,4]\n"
    "%2 = aten::t(%0) : f32[4,3]{1,4} @forward\n"
    "%3 = aten::mm(%1, %2) : f32[2,3] @forward\n"
    "%4 = aten::sum(%3, none) : f32[] @forward\n"
    "result %4\n";

TEST(GraphText, WhatWasParsedPrintsAlike) {
  EXPECT_EQ(print(parse(kExample)), kExample);
  verify(parse(kExample), "of the example");
}

TEST(GraphText, EveryKindOfArgumentSurvives) {
  Graph graph;
  const ValueId x = graph.add_value(contiguous_type(c10::ScalarType::BFloat16, {2, 0}));
  graph.inputs.push_back({InputKind::kBuffer, "a \"quoted\\\" name", x});
  Node node;
  node.op = "aten::some.overload";
  node.arguments = {None{},
                    Tensor{x},
                    Tensor{},
                    TensorList{{x, x}, false},
                    TensorList{{kNoValue, x}, true},
                    DeviceArgument{},
                    true,
                    false,
                    int64_t{-7},
                    0.1,
                    1e300,
                    -std::numeric_limits<double>::infinity(),
                    3.0,
                    std::string("tanh \"x\""),
                    std::vector<bool>{true, false},
                    std::vector<int64_t>{1, -2},
                    std::vector<double>{0.5, 2.0},
                    std::vector<bool>{},
                    std::vector<int64_t>{},
                    std::vector<double>{}};
  node.results = {graph.add_value({c10::ScalarType::Long, {2, 3}, {1, 2}}), kNoValue};
  node.phase = Phase::kBackward;
  node.scope = "blocks.3.up";
  node.random = 4;
  graph.nodes.push_back(node);
  graph.results = {node.results[0]};
  graph.gradients = {{"p", {node.results[0], x}}};

  const Graph again = parse(print(graph));
  EXPECT_EQ(print(again), print(graph));
  EXPECT_EQ(again.nodes[0].arguments, graph.nodes[0].arguments);
  EXPECT_EQ(again.values, graph.values);
  EXPECT_EQ(again.nodes[0].random, 4);
}

TEST(GraphText, ErrorsSayLineAndWish) {
  EXPECT_ERROR(parse("%0 = batch \"0\" : q8[2]\n"), InputError,
               "graph line 1 - syntax: got \"[2]\", want a dtype instead of \"q8\"");
  EXPECT_ERROR(parse(kExample + "%5 = aten::mm(%1 %2) : f32[2,3] @forward\n"), InputError,
               "graph line 7 - syntax: got \"%2) : f32[2,3] @forw\", want \",\"");
  EXPECT_ERROR(parse("%0 = batch \"0\" : f32[2] rest\n"), InputError,
               "graph line 1 - syntax: got \"rest\", want the end of the line");
}

void expect_illegal(const std::string& text, const std::string& rule) {
  EXPECT_ERROR(verify(parse(text), "in a test"), JobError,
               "graph in a test - " + rule + "; this is a defect of the pass before it");
}

TEST(GraphVerify, IllegalGraphsAreNamed) {
  expect_illegal(replaced(kExample, "mm(%1, %2)", "mm(%1, %4)"), "aten::mm: %4 is used before it is defined");
  expect_illegal(replaced(kExample, "%3 = aten::mm", "%2 = aten::mm"), "aten::mm: %2 is defined twice");
  expect_illegal(replaced(kExample, "sum(%3, none)", "sum(%3)"), "aten::sum: got 1 arguments, want 2");
  expect_illegal(replaced(kExample, "aten::t(%0)", "aten::t_(%0)"),
                 "aten::t_: a node must not change its input");
  expect_illegal(kExample + "gradient \"weight\" %3\n", "gradient weight: got shape [2,3], want [3,4]");
  expect_illegal(kExample + "gradient \"bias\" %3\n", "gradient bias: no parameter has this name");
  EXPECT_ERROR(verify(parse(replaced(kExample, "aten::mm", "aten::nm")), "in a test"), InputError,
               "operator aten::nm - unknown: this LibTorch has none of that name");
}

TEST(GraphPasses, DeadCodeGoesParametersStay) {
  const Graph graph = remove_dead_code(parse(replaced(kExample, "result %4", "result %2")));
  EXPECT_EQ(print(graph),
            "%0 = parameter \"weight\" : f32[3,4]\n"
            "%1 = batch \"0\" : f32[2,4]\n"
            "%2 = aten::t(%0) : f32[4,3]{1,4} @forward\n"
            "result %2\n");
}

}  // namespace
}  // namespace shoal::graph
