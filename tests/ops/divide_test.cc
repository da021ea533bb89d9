// What a rule makes of a node: divisions, the node of one part, costs; and the sentences for rules that are
// not there or wrong.
#include "ops/divide.h"

#include <gtest/gtest.h>

#include <chrono>

#include "calls.h"
#include "capture/capture.h"
#include "kernels/cpu/cpu_device.h"
#include "models/gpt.h"
#include "models/llama.h"
#include "models/mlp.h"
#include "models/resnet.h"
#include "ops/rules.h"
#include "shoal/rule.h"
#include "support/expect_error.h"

namespace shoal::ops {
namespace {

Call call_of(const std::string& text) { return CallParser(text, at::kFloat).parse(); }

std::string print(const std::optional<Division>& division) {
  if (!division) return "whole";
  std::vector<std::string> inputs, outputs;
  for (const Placement& placement : division->inputs) inputs.push_back(print(placement));
  for (const Placement& placement : division->outputs) outputs.push_back(print(placement));
  return cat(join(inputs, ","), "->", join(outputs, ","));
}

// By result 0, or by an input.
std::string by_result(const std::string& text, graph::Cut cut, int64_t parts) {
  const Call call = call_of(text);
  return print(divide(call.graph, call.node, {true, 0}, cut, parts));
}
std::string by_input(const std::string& text, int input, graph::Cut cut, int64_t parts) {
  const Call call = call_of(text);
  return print(divide(call.graph, call.node, {false, input}, cut, parts));
}

TEST(OpsDivide, ALetterIsTheSameIndexEverywhere) {
  EXPECT_EQ(by_result("aten::mm(f[4,6], f[6,8])", {1, 1}, 2), "R,S1->S1");
  EXPECT_EQ(by_input("aten::mm(f[4,6], f[6,8])", 0, {1, 1}, 3), "S1,S0->P(sum)");
  EXPECT_EQ(by_input("aten::mm(f[4,6], f[6,8])", 0, {1, 1}, 4), "whole");  // 4 does not divide 6
  EXPECT_EQ(by_input("aten::mm(f[4,12], f[12,8])", 0, {1, 3}, 2), "S1/3,S0/3->P(sum)");
  EXPECT_EQ(by_input("aten::add.Tensor(f[4,6], f[6])", 0, {0, 1}, 2), "S0,R->S0");
  EXPECT_EQ(by_input("aten::transpose.int(f[4,6,8], 0, -1)", 0, {0, 2}, 2), "S0/2->S2/2");
  EXPECT_EQ(by_result("aten::embedding(f[9,4], i9[2,6])", {1, 1}, 3), "R,S1->S1");
  EXPECT_EQ(by_input("aten::embedding(f[8,4], i8[2,6])", 0, {0, 1}, 2), "whole");
}

TEST(OpsDivide, ViewsRegroup) {
  // Heads within each of query, key and value: the cut of the product goes through all three.
  EXPECT_EQ(by_result("aten::view(f[2,5,24], [2,5,3,4,2])", {3, 1}, 2), "S2/3->S3");
  EXPECT_EQ(by_input("aten::view(f[2,5,24], [2,5,3,4,2])", 0, {2, 1}, 3), "S2->S2");
  EXPECT_EQ(by_input("aten::view(f[2,5,24], [2,5,3,4,2])", 0, {2, 1}, 2), "whole");  // 2 does not divide 3
  EXPECT_EQ(by_input("aten::view(f[2,6,5], [12,5])", 0, {1, 1}, 3), "S1->S0/2");
  EXPECT_EQ(by_input("aten::view(f[2,1,6], [2,6])", 0, {2, 1}, 3), "S2->S1");
}

TEST(OpsDivide, RunsOfALetter) {
  EXPECT_EQ(by_result("aten::split.Tensor(f[2,12], 4, 1)", {1, 1}, 2), "S1/3->S1,S1,S1");
  EXPECT_EQ(by_input("aten::split.Tensor(f[2,12], 4, 1)", 0, {1, 1}, 2), "whole");
  EXPECT_EQ(by_result("aten::split.Tensor(f[2,12], 5, 1)", {1, 1}, 5), "whole");  // 5, 5 and 2
  EXPECT_EQ(by_input("aten::cat({f[2,6], f[2,6]}, 1)", 0, {1, 1}, 3), "S1,S1->S1/2");
  EXPECT_EQ(by_input("aten::cat({f[2,6], f[2,3]}, 1)", 0, {1, 1}, 3), "whole");
  EXPECT_EQ(by_input("aten::glu(f[2,12], 1)", 0, {1, 2}, 3), "S1/2->S1");
}

TEST(OpsDivide, GroupsOfHeadsAndChannels) {
  const std::string grouped =
      "aten::_scaled_dot_product_fused_attention_overrideable(f[2,8,5,4], f[2,2,5,4], f[2,2,5,4], none, 0.0, "
      "true)";
  EXPECT_EQ(by_input(grouped, 0, {1, 1}, 2), "S1,S1,S1->S1,S1,R,R,R,R,R,R,R");
  EXPECT_EQ(by_input(grouped, 0, {1, 1}, 4), "whole");  // a part would have half a head of keys
  const std::string depthwise = "aten::convolution(f[2,4,5], f[8,1,3], f[8], [1], [1], [1], false, [0], 4)";
  EXPECT_EQ(by_result(depthwise, {1, 1}, 2), "S1,S0,S0->S1");
  EXPECT_EQ(by_result(depthwise, {1, 1}, 8), "whole");
}

TEST(OpsDivide, ThePartsNode) {
  const auto local = [](const std::string& text, graph::Cut cut, int64_t parts) {
    Call call = call_of(text);
    const auto division = divide(call.graph, call.node, {true, 0}, cut, parts);
    const graph::Node node = local_node(call.graph, call.node, division.value(), parts, 0);
    return graph::print(call.graph, node);
  };
  EXPECT_TRUE(
      local("aten::view(f[2,5,24], [2,5,3,4,-1])", {3, 1}, 2).starts_with("%1 = aten::view(%0, [2,5,3,2,2])"))
      << local("aten::view(f[2,5,24], [2,5,3,4,-1])", {3, 1}, 2);
  EXPECT_TRUE(local("aten::split.Tensor(f[2,12], 4, 1)", {1, 1}, 2).find("aten::split.Tensor(%0, 2, 1)") !=
              std::string::npos);
  EXPECT_TRUE(local("aten::expand(f[2,1], [2,-1])", {0, 1}, 2).find("aten::expand(%0, [1,-1], false)") !=
              std::string::npos);
  EXPECT_TRUE(local("aten::full([4,6], 1)", {1, 1}, 2).find("aten::full([4,3]") != std::string::npos);
}

TEST(OpsDivide, ABiasIsLeftOutOfASum) {
  const Call call = call_of("aten::addmm(f[8], f[4,6], f[6,8])");
  const Division division = divide(call.graph, call.node, {false, 1}, {1, 1}, 2).value();
  EXPECT_EQ(print(division), "R,S1,S0->P(sum)");
  EXPECT_EQ(division.added_after, 0);
  EXPECT_EQ(bias_of(call.graph, call.node).value().shape, (std::vector<int64_t>{1, 8}));
  const graph::Node node = local_node(call.graph, call.node, division, 2, 0);
  EXPECT_EQ(node.op, "aten::mm");
  EXPECT_EQ(node.arguments, (std::vector<graph::Argument>{graph::Tensor{1}, graph::Tensor{2}}));

  const Call convolution =
      call_of("aten::convolution(f[2,4,5,5], f[8,4,3,3], f[8], [1,1], [1,1], [1,1], false, [0,0], 1)");
  const Division channels = divide(convolution.graph, convolution.node, {false, 0}, {1, 1}, 2).value();
  EXPECT_EQ(bias_of(convolution.graph, convolution.node).value().shape, (std::vector<int64_t>{1, 8, 1, 1}));
  EXPECT_EQ(local_node(convolution.graph, convolution.node, channels, 2, 0).arguments[2],
            graph::Argument(graph::None{}));
  // Scaled, it cannot be added by itself.
  const std::string scaled = "aten::addmm(f[8], f[4,6], f[6,8], beta=2)";
  EXPECT_EQ(by_input(scaled, 1, {1, 1}, 2), "whole");
  EXPECT_FALSE(bias_of(call_of(scaled).graph, call_of(scaled).node).has_value());
}

TEST(OpsDivide, SumsPassWhereTheRuleSays) {
  const auto passes = [](const std::string& text, const std::vector<bool>& addends) {
    const Call call = call_of(text);
    return print(pass_sums(call.graph, call.node, addends));
  };
  EXPECT_EQ(passes("aten::add.Tensor(f[4,6], f[6])", {true, true}), "P(sum),P(sum)->P(sum)");
  EXPECT_EQ(passes("aten::add.Tensor(f[4,6], f[6])", {true, false}), "whole");  // added once for each part
  EXPECT_EQ(passes("aten::mm(f[4,6], f[6,8])", {false, true}), "R,P(sum)->P(sum)");
  EXPECT_EQ(passes("aten::mm(f[4,6], f[6,8])", {true, true}), "whole");
  EXPECT_EQ(passes("aten::relu(f[4,6])", {true}), "whole");
  EXPECT_EQ(passes("aten::view(f[4,6], [24])", {true}), "P(sum)->P(sum)");
  EXPECT_EQ(passes("aten::cat({f[2,6], f[2,3]}, 1)", {true, true}), "P(sum),P(sum)->P(sum)");
  EXPECT_EQ(passes("aten::cat({f[2,6], f[2,3]}, 1)", {true, false}), "whole");
  // A group that names an input which is not there.
  EXPECT_EQ(
      passes("aten::convolution(f[4,6,9], f[12,6,3], none, [1], [1], [1], false, [0], 1)", {true, false}),
      "P(sum),R->P(sum)");
}

TEST(OpsDivide, APartKnowsWhereItBegins) {
  const Call call = call_of("shoal::embedding_rows(f[12,4], i12[2,6], 15, 3)");
  const Division classes = divide(call.graph, call.node, {false, 0}, {0, 1}, 4).value();
  EXPECT_EQ(print(classes), "S0,R->P(sum)");
  EXPECT_EQ(local_node(call.graph, call.node, classes, 4, 0).arguments[3], graph::Argument(int64_t{3}));
  EXPECT_EQ(local_node(call.graph, call.node, classes, 4, 3).arguments[3], graph::Argument(int64_t{12}));
  const Division features = divide(call.graph, call.node, {false, 0}, {1, 1}, 4).value();
  EXPECT_EQ(local_node(call.graph, call.node, features, 4, 3).arguments[3], graph::Argument(int64_t{3}));
  EXPECT_EQ(by_input("shoal::embedding_rows(f[12,4], i12[2,6], 15, 3)", 0, {0, 3}, 2),
            "whole");  // not one run
}

TEST(OpsDivide, Costs) {
  const auto flops = [](const std::string& text) {
    const Call call = call_of(text);
    return cost(call.graph, call.node).flops;
  };
  EXPECT_EQ(flops("aten::mm(f[4,6], f[6,8])"), 2 * 4 * 6 * 8);
  EXPECT_EQ(flops("aten::convolution(f[2,4,5,5], f[8,4,3,3], f[8], [1,1], [1,1], [1,1], false, [0,0], 1)"),
            2 * (2 * 8 * 5 * 5) * (4 * 3 * 3));
  EXPECT_EQ(flops("aten::convolution(f[2,4,5], f[8,1,3], f[8], [1], [1], [1], false, [0], 4)"),
            2 * (2 * 8 * 5) * 3);
  EXPECT_EQ(flops("aten::relu(f[4,6])"), 24);
  EXPECT_EQ(flops("aten::_scaled_dot_product_fused_attention_overrideable(f[2,8,5,4], f[2,2,5,4], "
                  "f[2,2,5,4], none, 0.0, true)"),
            4 * 2 * 8 * 5 * 5 * 4);
  const Call add = call_of("aten::add.Tensor(f[4,6], f[6])");
  EXPECT_EQ(cost(add.graph, add.node).bytes, 4 * (24 + 6 + 24));
  const Call view = call_of("aten::view(f[4,6], [24])");
  EXPECT_EQ(cost(view.graph, view.node).bytes, 0);
}

template <class Model>
graph::Graph graph_of(const Model& model, const std::vector<graph::TensorType>& types) {
  const auto loss = [](auto& net, const Batch& batch) {
    const auto out = net(batch[0]);
    return batch[1].is_floating_point() ? torch::mse_loss(out, batch[1])
                                        : torch::cross_entropy_loss(out.flatten(0, 1), batch[1].flatten());
  };
  return capture::capture_training(kernels::cpu(), with_loss(model, loss), types, Precision::kFP32);
}

// Also: how long one question takes. Planning asks some hundred thousand.
TEST(OpsDivide, EveryOperatorOfTheModelsHasARule) {
  models::GptConfig gpt;
  gpt.vocabulary = 32, gpt.layers = 2, gpt.width = 16, gpt.heads = 4, gpt.context = 8, gpt.dropout = 0.1;
  const auto tokens = graph::contiguous_type(at::kLong, {2, 8});
  models::MlpConfig mlp;
  const auto x = graph::contiguous_type(at::kFloat, {8, mlp.inputs}),
             y = graph::contiguous_type(at::kFloat, {8, mlp.outputs});
  const models::LlamaConfig llama{.vocabulary = 32, .layers = 2, .width = 32, .heads = 4, .kv_heads = 2};
  const models::ResnetConfig resnet{.stages = 2, .layers = 1, .width = 8, .outputs = 8};
  const auto images = graph::contiguous_type(at::kFloat, {4, 3, 8, 8}),
             scores = graph::contiguous_type(at::kFloat, {4, 8});
  for (const graph::Graph& graph :
       {graph_of(describe([&] { return models::Gpt(gpt); }), {tokens, tokens}),
        graph_of(describe([&] { return models::Llama(llama); }), {tokens, tokens}),
        graph_of(describe([&] { return models::Resnet(resnet); }), {images, scores}),
        graph_of(describe([&] { return models::Mlp(mlp); }), {x, y})}) {
    int64_t asked = 0;
    const auto start = std::chrono::steady_clock::now();
    for (int round = 0; round < 20; ++round)
      for (const graph::Node& node : graph.nodes) {
        EXPECT_TRUE(has_rule(node.op)) << node.op;
        if (has_rule(node.op)) divide(graph, node, {true, 0}, {0, 1}, 2);
        ++asked;
      }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::cout << graph.nodes.size() << " nodes, " << 1e6 * seconds / static_cast<double>(asked)
              << " us a question\n";
  }
}

TEST(OpsDivide, NothingIsKnownWithoutARule) {
  Call call = call_of("aten::view(f[4,6], [24])");
  EXPECT_EQ(rule_for(call.graph, call.node), RuleFor::kNode);
  call.node.op = "my::op";
  EXPECT_EQ(rule_for(call.graph, call.node), RuleFor::kNone);
  EXPECT_EQ(divide(call.graph, call.node, {true, 0}, {0, 1}, 2), std::nullopt);
  EXPECT_TRUE(divisions(call.graph, call.node, 2).empty());
  EXPECT_EQ(pass_sums(call.graph, call.node, {true}), std::nullopt);
  EXPECT_FALSE(costs_nothing(call.graph, call.node));
  EXPECT_EQ(cost(call.graph, call.node).bytes, 4 * (24 + 24));
  EXPECT_EQ(cost(call.graph, call.node).flops, 4 * (24 + 24));  // one for each byte
}

// A rule that fits other arguments leaves this node whole; one that does not fit its schema is the writer's
// mistake, and said.
TEST(OpsDivide, ARuleMayFitOtherArgumentsAlone) {
  const Call layers =
      call_of("aten::_trilinear(f[4,6], f[10,6,15], f[4,15], [1,3], [0], [1,2], [2,3])");
  EXPECT_EQ(rule_for(layers.graph, layers.node), RuleFor::kNode);
  EXPECT_EQ(by_input("aten::_trilinear(f[4,6], f[10,6,15], f[4,15], [1,3], [0], [1,2], [2,3])", 1, {0, 1}, 2),
            "R,S0,R->S1");
  const Call other = call_of("aten::_trilinear(f[4,6], f[4,6], f[4,6], [], [], [], [1])");
  EXPECT_EQ(rule_for(other.graph, other.node), RuleFor::kOtherArguments);
  EXPECT_EQ(divide(other.graph, other.node, {true, 0}, {0, 1}, 2), std::nullopt);

  register_rule("aten::special_i0e", "...->...,...");
  const Call mistaken = call_of("aten::special_i0e(f[4,6])");
  EXPECT_ERROR(divide(mistaken.graph, mistaken.node, {true, 0}, {0, 1}, 2), InputError,
               "rule of aten::special_i0e - results: got 2 terms, want 1: one for each result of its schema");
}

TEST(OpsDivide, WrongRulesSayWhatIsWrong) {
  EXPECT_ERROR(register_rule("my::op", "mk,kn"), InputError,
               "rule of my::op, at 5 - \"mk,kn\": got the end, want \",\" or \"->\"");
  EXPECT_ERROR(register_rule("my::op", "mk,kn->m?"), InputError,
               "rule of my::op, at 8 - \"mk,kn->m?\": got \"?\", want \"|\", \";\" or the end");
  EXPECT_ERROR(register_rule("my::op", "...[dim->..."), InputError,
               "rule of my::op, at 7 - \"...[dim->...\": got \"->...\", want \":\"");
  EXPECT_ERROR(register_rule("my::op", "...->...; hole: s"), InputError,
               "rule of my::op, at 14 - \"...->...; hole: s\": got \": s\", want a clause, or \"=\" after "
               "the argument hole");
  EXPECT_ERROR(register_rule("aten::mm", "mk,nk->mn"), InputError,
               "rule of aten::mm - got a second one, \"mk,nk->mn\"; it has \"mk,kn->mn; flops: 2 m k n; "
               "linear: 0, 1\"; "
               "leave one of them out");
  const auto resolved = [](const std::string& op, const std::string& text) {
    Rule rule = parse_rule(op, text);
    resolve(rule);
  };
  EXPECT_ERROR(resolved("aten::mm", "mk->mn"), InputError,
               "rule of aten::mm - inputs: got 1 terms, want 2: one for each tensor argument of its schema");
  EXPECT_ERROR(resolved("aten::mm", "mk,kn->mn,m"), InputError,
               "rule of aten::mm - results: got 2 terms, want 1: one for each result of its schema");
  EXPECT_ERROR(resolved("aten::mm", "mk,kn->mn; linear: 0, 2"), InputError,
               "rule of aten::mm - linear: got input 2, want one below 2");
  EXPECT_ERROR(resolved("aten::t", "ab->ba; dim=a"), InputError,
               "rule of aten::t - arguments: got dim, want one of self");
  EXPECT_ERROR(resolved("my::nothing", "a->a"), InputError,
               "operator my::nothing - unknown: this LibTorch has none of that name");
}

}  // namespace
}  // namespace shoal::ops
