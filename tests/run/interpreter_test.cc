#include "run/interpreter.h"

#include <gtest/gtest.h>

#include "lower/program_check.h"
#include "support/programs.h"

namespace shoal::run {
namespace {

// Every layout's Programs give one device's bits; those read from text, too.
void expect_one_answer(const test::ProgramModel& model, const std::vector<Layout>& layouts, int64_t microbatches) {
  const test::Ran want = test::run_programs(model, test::programs_of(model, {}, microbatches));
  for (const Layout& layout : layouts) {
    SCOPED_TRACE(print(layout));
    std::vector<lower::Program> programs = test::programs_of(model, layout, microbatches);
    lower::program_check(programs);
    for (lower::Program& program : programs) program = lower::parse_program(lower::print(program));
    EXPECT_EQ(test::first_difference(test::run_programs(model, programs), want), "");
  }
}

TEST(Interpreter, EveryLayoutGivesOneAnswer) {
  expect_one_answer(test::program_model(false, 1), test::layouts_of_every_kind(), 5);
  expect_one_answer(test::program_model(true, 1), test::layouts_of_every_kind(), 4);
}
TEST(Interpreter, EveryLayoutGivesOneAnswerInParts) {
  expect_one_answer(test::program_model(true, 2), test::divided_layouts(), 3);
}
TEST(Interpreter, EveryLayoutGivesOneAnswerInBf16) {
  expect_one_answer(test::program_model(true, 2, Precision::kBF16), test::divided_layouts(), 3);
  expect_one_answer(test::program_model(false, 1, Precision::kBF16), test::layouts_of_every_kind(), 4);
}

// The obvious loop: forward and backward in eager, gradients added by the tree, plain gradient descent.
TEST(Interpreter, EqualsTheObviousLoop) {
  const test::ProgramModel model = test::program_model(false, 1);
  const test::Ran got = test::run_programs(model, test::programs_of(model, {}, 1), 1);
  test::TiedNet net;
  {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : net->named_parameters()) parameter.value().copy_(model.numbers.at(parameter.key()));
  }
  const Batch batch = model.batch(0);
  const torch::Tensor loss = torch::mse_loss(net->forward(batch[0]), batch[1]);
  loss.backward();
  EXPECT_EQ(static_cast<float>(got.losses[0]), loss.item<float>());
  double squares = 0;
  for (const auto& parameter : net->parameters())
    squares += parameter.grad().to(torch::kDouble).square().sum().item<double>();
  const double clip = std::min(1.0, 1 / (std::sqrt(squares) + 1e-6));
  for (const auto& parameter : net->named_parameters()) {
    const torch::Tensor want = parameter.value() - parameter.value().grad() * (0.1 * clip);
    EXPECT_TRUE(torch::allclose(got.numbers.at(parameter.key()), want, 1e-5, 1e-6)) << parameter.key();
  }
}

}  // namespace
}  // namespace shoal::run
