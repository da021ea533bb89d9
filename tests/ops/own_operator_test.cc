// What docs/adding_an_operator.md says of an operator that is not LibTorch's: it gets a rule, and the proof
// holds for it.
#include <gtest/gtest.h>
#include <torch/library.h>

#include "proof.h"
#include "shoal/rule.h"

namespace shoal::ops {
namespace {

// x [n,i] times w [i,o], both in groups of channels, plus one number for each output.
at::Tensor scaled_product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& shift) {
  return at::mm(x, w) + shift;
}
TORCH_LIBRARY(shoal_test, library) {
  library.def("scaled_product(Tensor x, Tensor w, Tensor shift) -> Tensor");
}
TORCH_LIBRARY_IMPL(shoal_test, CPU, library) { library.impl("scaled_product", &scaled_product); }

constexpr const char* kOp = "shoal_test::scaled_product";
constexpr const char* kCall = "shoal_test::scaled_product(f[12,20], f[20,6], f[6])";

TEST(OpsOwnOperator, ARegisteredRuleIsProvedLikeARow) {
  register_rule(kOp, "ni,io,o->no; whole: i");
  register_rule(kOp, "ni,io,o->no; whole: i");  // twice is once
  const Rule& rule = *rule_of(kOp);
  Proof proof;
  prove_stated(rule, kCall, at::kFloat, proof);
  find_missing(rule, kCall, proof);
  EXPECT_EQ(join(proof.failures, "\n"), "");
  EXPECT_EQ(join(proof.missing, "\n"), "");
  ASSERT_EQ(proof.shown.size(), 2u);
  EXPECT_EQ(proof.shown.at("n").how, "S0, R, R -> S0");
  EXPECT_EQ(proof.shown.at("o").how, "R, S1, S0 -> S1");
}

TEST(OpsOwnOperator, AForgottenWholeIsFound) {
  Rule rule = parse_rule(kOp, "ni,io,o->no");  // the shift would be added by every part
  resolve(rule);
  Proof proof;
  prove_stated(rule, kCall, at::kFloat, proof);
  ASSERT_FALSE(proof.failures.empty());
  EXPECT_TRUE(proof.failures[0].find("i: S1, S0, R -> P(sum): result 0 is off by") != std::string::npos)
      << proof.failures[0];
}

}  // namespace
}  // namespace shoal::ops
