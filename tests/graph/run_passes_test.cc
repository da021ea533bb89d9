#include "graph/run_passes.h"

#include <gtest/gtest.h>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::graph {
namespace {

const char* const kText =
    "%0 = parameter \"w\" : f32[2]\n"
    "%1 = aten::neg(%0) : f32[2] @forward\n"
    "%2 = aten::abs(%1) : f32[2] @forward\n"
    "result %2\n";

Graph with_result(Graph graph, ValueId id) {
  graph.results = {id};
  return graph;
}

TEST(RunPasses, InOrderAndVerifiedAfterEach) {
  std::string order;
  const auto note = [&](const char* name) {
    return Pass{name, Bits::kPreserved, [&order, name](Graph graph) { return order += name, graph; }};
  };
  EXPECT_EQ(print(run_passes(parse(kText), {note("a"), note("b")})), kText);
  EXPECT_EQ(order, "ab");
  const Pass breaks{"forget_neg", Bits::kChanged, [](Graph graph) {
                      graph.nodes.erase(graph.nodes.begin());
                      return graph;
                    }};
  EXPECT_ERROR(run_passes(parse(kText), {breaks, note("c")}), JobError,
               "graph after forget_neg - aten::abs: %1 is used before it is defined; this is a defect of the pass "
               "before it");
  EXPECT_EQ(order, "ab");
}

TEST(RunPasses, WhatPreservesBitsLeavesAsMuchAsBefore) {
  const auto widens = [](Graph graph) {
    graph.values[2].dtype = c10::ScalarType::Double;
    return graph;
  };
  const auto earlier = [](Graph graph) { return with_result(std::move(graph), 1); };
  EXPECT_NO_THROW(run_passes(parse(kText), {{"widen", Bits::kChanged, widens}}));
  EXPECT_NO_THROW(run_passes(parse(kText), {{"earlier", Bits::kPreserved, earlier}})) << "it sees types alone";
  EXPECT_ERROR(run_passes(parse(kText), {{"widen", Bits::kPreserved, widens}}), JobError,
               "graph after widen - outputs: got f64[2], want f32[2], since the pass preserves bits; this is a "
               "defect of the pass");
}

}  // namespace
}  // namespace shoal::graph
