// The module and its trainer are one: what the user reads of a built module between steps is what training
// has, what the user writes to it is what training goes on with, as in an eager loop.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <source_location>
#include <sstream>

#include "comm/comm.h"
#include "session/small_net.h"
#include "shoal/shoal.h"
#include "support/eager_loop.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
using test::batch_of;
using test::built;
using test::Net;

struct ModuleTest : ::testing::Test {
  World world{comm::single()};
  TrainerOptions options{.optimizer = AdamW{.lr = 1e-2}};
};

// `between` is what the user does before each of six steps.
void expect_as_eager(const std::function<void(Net&, int64_t)>& between,
                     std::source_location where = std::source_location::current()) {
  const testing::ScopedTrace trace(where.file_name(), static_cast<int>(where.line()), "called from");
  Net theirs = built(), ours = built();
  const std::vector<float> want = test::eager_adamw_loop(
      *theirs, 6, 1, {1e-2, 0.9, 0.999, 1e-8, 0.01}, [&](int64_t step, int64_t) {
        between(theirs, step);
        return test::loss(theirs, batch_of(step));
      });
  World world(comm::single());
  {
    Trainer trainer(world, ours, test::loss, {.optimizer = AdamW{.lr = 1e-2}});
    for (int64_t step = 0; step < 6; ++step) {
      between(ours, step);
      EXPECT_EQ(trainer.step(batch_of(step)).loss, want[static_cast<size_t>(step)]) << step;
    }
    for (const auto& parameter : theirs->named_parameters())
      EXPECT_TRUE(torch::equal(trainer.parameter(parameter.key()), parameter.value())) << parameter.key();
  }
  for (const auto& parameter : theirs->named_parameters())  // also when the trainer is gone
    EXPECT_TRUE(torch::equal(ours->named_parameters()[parameter.key()], parameter.value()))
        << parameter.key();
  for (const auto& buffer : theirs->named_buffers())
    EXPECT_TRUE(torch::equal(ours->named_buffers()[buffer.key()], buffer.value())) << buffer.key();
}

TEST_F(ModuleTest, WritesInPlaceAreHonoured) {
  expect_as_eager([](Net& net, int64_t) {  // as WGAN clips its critic
    const torch::NoGradGuard no_grad;
    for (torch::Tensor p : net->parameters()) p.clamp_(-0.3, 0.3);
  });
  expect_as_eager([](Net& net, int64_t step) {
    if (step == 2) net->first->weight.data().mul_(0.5);
    if (step == 4) net->second->bias.detach().fill_(0.25);
  });
  expect_as_eager([](Net& net, int64_t step) {
    const torch::NoGradGuard no_grad;
    if (step == 3) nn::init::constant_(net->second->weight, 0.125);
    if (step == 4) net->first->weight.copy_(torch::ones({12, 6}) * 0.0625);
    if (step == 5) net->first->weight.data_ptr<float>()[3] = 1;
  });
}

TEST_F(ModuleTest, WritesThroughAViewThatWasStoredBeforeAreHonoured) {
  torch::Tensor rows;
  expect_as_eager([&](Net& net, int64_t step) {
    const torch::NoGradGuard no_grad;
    if (step == 0) rows = net->first->weight.detach().narrow(0, 2, 3);
    if (step == 3) rows.zero_();
  });
}

TEST_F(ModuleTest, LoadedWeightsAreHonoured) {
  for (const bool buffers_too : {true, false}) {
    std::stringstream file;
    expect_as_eager([&](Net& net, int64_t step) {
      if (step == 0) file = std::stringstream();
      if (step == 2) torch::save(net, file);
      if (step != 4) return;
      file.seekg(0);
      if (buffers_too) return torch::load(net, file);
      Net other;
      torch::load(other, file);
      net->first->weight.set_data(other->first->weight.data());
    });
  }
}

TEST_F(ModuleTest, BuffersWrittenBetweenStepsAreHonoured) {
  expect_as_eager([](Net& net, int64_t step) {
    if (step == 2) net->norm->reset_running_stats();
    if (step == 4) net->norm->running_mean.fill_(0.5);
    if (step == 5) net->norm->eval();
  });
}

TEST_F(ModuleTest, AnEagerOptimizerMayStepInBetween) {
  expect_as_eager([](Net& net, int64_t step) {
    if (step != 3) return;
    torch::optim::SGD sgd(net->parameters(), 0.05);
    test::loss(net, batch_of(40)).backward();
    sgd.step();
    net->zero_grad();
  });
}

TEST_F(ModuleTest, FlagsThatAreBackAtTheStepMakeNoDifference) {
  expect_as_eager([](Net& net, int64_t step) {
    if (step != 2) return;
    for (torch::Tensor p : net->parameters()) p.requires_grad_(false);
    net->eval();
    test::loss(net, batch_of(3));
    net->train();
    for (torch::Tensor p : net->parameters()) p.requires_grad_(true);
  });
}

TEST_F(ModuleTest, TheModuleItselfIsWhatWasTrained) {
  Net net = built();
  Trainer trainer(world, net, test::loss, options);
  const torch::Tensor before = net->first->weight.detach().clone();
  for (int64_t step = 0; step < 3; ++step) {
    const torch::Tensor eager = test::loss(net, batch_of(step));  // moves the statistics, too
    EXPECT_EQ(trainer.step(batch_of(step)).loss, eager.item<float>());
  }
  EXPECT_FALSE(torch::equal(net->first->weight, before));
  std::stringstream file;
  torch::save(net, file);
  Net again;
  torch::load(again, file);
  net->eval();
  again->eval();
  EXPECT_TRUE(torch::equal(again(batch_of(7)[0]), net(batch_of(7)[0])));
  EXPECT_EQ(trainer.evaluate(1, [](int64_t) { return batch_of(7); }),
            static_cast<double>(test::loss(net, batch_of(7)).item<float>()));
}

TEST_F(ModuleTest, WhatIsLoadedIsEvaluatedAndSavedAtOnce) {
  Net net = built(), other;
  std::stringstream file;
  torch::save(other, file);
  Trainer trainer(world, net, test::loss, options);
  trainer.step(batch_of(0));
  torch::load(net, file);
  EXPECT_TRUE(torch::equal(trainer.parameter("first.weight"), other->first->weight));
  other->eval();
  EXPECT_EQ(trainer.evaluate(1, [](int64_t) { return batch_of(7); }),
            static_cast<double>(test::loss(other, batch_of(7)).item<float>()));
}

// Each begins where the other ended, as two optimizers of one module do.
TEST_F(ModuleTest, TwoTrainersOfOneModuleTakeTurns) {
  Net net = built();
  Trainer a(world, net, test::loss, options),
      b(world, net, [](Net& net, const Batch& batch) { return test::loss(net, batch) * 2; }, options);
  for (int64_t step = 0; step < 6; ++step) {
    const float eager = test::loss(net, batch_of(step)).item<float>();
    EXPECT_EQ(step % 2 ? b.step(batch_of(step)).loss / 2 : a.step(batch_of(step)).loss, eager) << step;
  }
}

TEST_F(ModuleTest, AGraphThatSavedOldWeightsIsNotRunBackward) {
  Net net = built();
  Trainer trainer(world, net, test::loss, options);
  trainer.step(batch_of(0));
  const torch::Tensor stale = net->second(torch::relu(net->first(batch_of(1)[0]))).sum();
  trainer.step(batch_of(1));
  EXPECT_THROW(stale.backward(), c10::Error);  // as after an eager optimizer's step
}

TEST_F(ModuleTest, WhatIsTrainedCannotChange) {
  const auto refused = [&](const std::function<void(Net&)>& change, const std::string& sentence) {
    Net net = built();
    Trainer trainer(world, net, test::loss, options);
    trainer.step(batch_of(0));
    change(net);
    EXPECT_ERROR(trainer.step(batch_of(1)), InputError, sentence);
  };
  const std::string instead = "; a Trainer's model keeps its tensors, so make a new Trainer";
  refused([](Net& net) { net->first->bias.requires_grad_(false); },
          "trainer - parameter first.bias: its requires_grad is false, and was true when training began; a "
          "Trainer trains the same parameters to its end, so make a new one, which goes on with the module's "
          "numbers");
  refused([](Net& net) { net->register_parameter("more", torch::ones({3})); },
          "trainer - parameter more: the module did not have it at first, so it is not trained" + instead);
  refused([](Net& net) { net->second = net->replace_module("second", nn::Linear(12, 3)); },
          "trainer - parameter second.weight: the module has another tensor of this name than at first, "
          "which is not trained" + instead);
  refused([](Net& net) { net->unregister_module("second"); },
          "trainer - parameter second.weight: the module has none of this name any more" + instead);
  refused([](Net& net) { net->first->bias.set_data(torch::ones({5})); },
          "module - first.bias: got f32[5], want f32[12] as when its training began; make a new Trainer for a "
          "module of other shapes");
  refused([](Net& net) { net->to(torch::kDouble); },
          "module - first.weight: got f64[12,6], want f32[12,6] as when its training began; make a new "
          "Trainer for a module of other shapes");
}

TEST_F(ModuleTest, ADescribedModuleSaysWhereItsNumbersAre) {
  const auto net = describe([] { return Net(); });
  Trainer trainer(world, net, test::loss, options);
  trainer.step(batch_of(0));
  EXPECT_ERROR(trainer.update_module(), InputError,
               "trainer - update_module: the model was described, so its module has no memory; read its "
               "numbers with parameter(name), or save them with save(folder)");
  Net module = net.module;
  EXPECT_ANY_THROW(module(batch_of(0)[0]));
  std::stringstream file;
  EXPECT_ANY_THROW(torch::save(module, file));
  const torch::NoGradGuard no_grad;
  EXPECT_ANY_THROW(module->first->weight.clamp_(-1, 1));
  module->second->bias.requires_grad_(false);
  EXPECT_THROW(trainer.step(batch_of(1)), InputError);
}

}  // namespace
}  // namespace shoal
