// The module and its trainer where a device does not keep whole fp32 weights, and where there are several.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>
#include <sstream>

#include "comm/comm.h"
#include "session/small_net.h"
#include "shoal/shoal.h"
#include "support/expect_error.h"

namespace shoal {
namespace {

namespace nn = torch::nn;
using test::batch_of;
using test::built;
using test::Net;

constexpr int64_t kMicrobatches = 2;

// What a case does with its trainer and module; runs on every device.
using Work = std::function<void(World&, Trainer&, Net&)>;

struct Case {
  int devices;
  Layout layout;
  int64_t chunks = 1;
  Precision precision = Precision::kFP32;
};

void with_trainer(const Case& c, const Work& work) {
  World::threads(c.devices, [&](World& world) {
    Net net = built();
    Trainer trainer(world, net, test::loss,
                    {.optimizer = AdamW{.lr = 1e-2},
                     .microbatches = kMicrobatches,
                     .precision = c.precision,
                     .tensor_chunks = c.chunks,
                     .layout = c.layout});
    work(world, trainer, net);
  });
}

float step(Trainer& trainer, int64_t i) {
  return trainer.step([&](int64_t m) { return batch_of(kMicrobatches * i + m); }).loss;
}

// What a user does between steps; returns the losses of all devices.
using Between = std::function<void(Trainer&, Net&)>;
std::vector<float> losses(const Case& c, const Between& between) {
  std::vector<float> all;
  std::mutex mutex;
  with_trainer(c, [&](World&, Trainer& trainer, Net& net) {
    step(trainer, 0);
    between(trainer, net);
    const float first = step(trainer, 1), last = step(trainer, 2);
    const std::lock_guard lock(mutex);
    all.insert(all.end(), {first, last});
  });
  return all;
}

const std::vector<Case> kWhole = {{1, {}}, {2, {.dp = 2}}, {2, {.dp = 2, .zero = 0}}, {2, {.dp = 2, .zero = 2}}};
const std::vector<Case> kAway = {{2, {.dp = 2, .zero = 3}}, {2, {.dp = 1, .servers = 1}}};
const std::vector<Case> kDivided = {{1, {}, 2}, {2, {.tp = 2}, 2}, {2, {.dp = 2}, 2}, {2, {.dp = 2, .zero = 3}, 2}};
const std::vector<Case> kNarrow = {{1, {}, 1, Precision::kBF16}, {2, {.dp = 2}, 1, Precision::kBF16}};

void halve(Net& net) {
  const torch::NoGradGuard no_grad;
  for (torch::Tensor p : net->parameters()) p.mul_(0.5);
  net->norm->running_mean.add_(1);
}

void expect_equal(const std::vector<float>& values, const std::vector<float>& want) {
  ASSERT_EQ(want.size(), 2u);
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], want[i % 2]) << i;
}

TEST(ModuleLayouts, WritesAreHonouredOnEveryLayout) {
  const auto write = [](Trainer&, Net& net) { halve(net); };
  const auto write_after_update = [](Trainer& trainer, Net& net) {
    trainer.update_module();
    net->parameters()[0].data().add_(0);  // not seen by any counter
    halve(net);
  };
  const std::vector<float> want = losses(kWhole[0], write);
  for (const Case& c : kWhole) expect_equal(losses(c, write), want);
  for (const Case& c : kWhole) expect_equal(losses(c, write_after_update), want);
  for (const Case& c : kAway) expect_equal(losses(c, write_after_update), want);
  const std::vector<float> divided = losses(kDivided[0], write_after_update);
  for (const Case& c : kDivided) expect_equal(losses(c, write_after_update), divided);
  const std::vector<float> narrow = losses(kNarrow[0], write_after_update);
  for (const Case& c : kNarrow) expect_equal(losses(c, write_after_update), narrow);
  EXPECT_NE(narrow, losses(kNarrow[0], [](Trainer&, Net&) {}));
}

TEST(ModuleLayouts, LoadedWeightsAreHonouredOnEveryLayout) {
  const auto load = [](Trainer&, Net& net) {
    Net other = built();
    halve(other);
    std::stringstream file;
    torch::save(other, file);
    torch::load(net, file);
  };
  const std::vector<float> want = losses(kWhole[0], load);
  for (const Case& c : kWhole) expect_equal(losses(c, load), want);
  const auto load_after_update = [&](Trainer& trainer, Net& net) {
    trainer.update_module();
    load(trainer, net);
  };
  const auto exchange = [](Trainer&, Net& net) {  // at once, without numbers to begin with
    Net other = built();
    halve(other);
    for (const auto& p : other->named_parameters()) net->named_parameters()[p.key()].set_data(p.value().data());
    for (const auto& b : other->named_buffers()) net->named_buffers()[b.key()].set_data(b.value());
  };
  for (const auto& other : {Between(load_after_update), Between(exchange)}) {
    for (const Case& c : kWhole) expect_equal(losses(c, other), want);
    for (const Case& c : kAway) expect_equal(losses(c, other), want);
    const std::vector<float> divided = losses(kDivided[0], other);
    for (const Case& c : kDivided) expect_equal(losses(c, other), divided);
    const std::vector<float> narrow = losses(kNarrow[0], other);
    for (const Case& c : kNarrow) expect_equal(losses(c, other), narrow);
    EXPECT_NE(narrow, losses(kNarrow[0], [](Trainer&, Net&) {}));
  }
}

TEST(ModuleLayouts, UpdateModuleWritesWhatWasTrained) {
  std::vector<torch::Tensor> want;
  with_trainer(kWhole[0], [&](World&, Trainer& trainer, Net& net) {
    step(trainer, 0);
    for (const auto& p : net->parameters()) want.push_back(p.detach().clone());
  });
  for (const Case& c : kAway)
    with_trainer(c, [&](World&, Trainer& trainer, Net& net) {
      step(trainer, 0);
      trainer.update_module();
      for (size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(torch::equal(net->parameters()[i], want[i])) << i;
    });
  for (const auto* cases : {&kDivided, &kNarrow})
    for (const Case& c : *cases)
      with_trainer(c, [&](World&, Trainer& trainer, Net& net) {
        step(trainer, 0);
        trainer.update_module();
        for (const auto& p : net->named_parameters()) {
          const torch::Tensor read = trainer.parameter(p.key());
          EXPECT_TRUE(torch::equal(p.value().to(read.scalar_type()), read)) << p.key();
        }
      });
}

TEST(ModuleLayouts, AModuleWithoutNumbersSaysWhatToCall) {
  const std::string sentence =
      ": its trained numbers are with the Trainer; call the Trainer's update_module() on "
      "every device, which writes them here until the next step";
  const auto says_so = [&](const std::function<void()>& read) {
    try {
      read();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const c10::Error& error) {
      EXPECT_NE(std::string(error.what_without_backtrace()).find(sentence), std::string::npos)
          << error.what_without_backtrace();
    }
  };
  for (const Case& c : {kAway[0], kDivided[1], kNarrow[0]})
    with_trainer(c, [&](World&, Trainer& trainer, Net& net) {
      for (int round = 0; round < 2; ++round) {
        step(trainer, round);
        std::stringstream file;
        says_so([&] { torch::save(net, file); });
        says_so([&] { net(batch_of(0)[0]); });
        const torch::NoGradGuard no_grad;
        says_so([&] { net->first->weight.clamp_(-1, 1); });
        says_so([&] { net->first->weight.data().mul_(2); });
        says_so([&] { net->first->weight[0][0].item<float>(); });
        trainer.update_module();
        torch::save(net, file);
        net(batch_of(0)[0]);
      }
    });
}

TEST(ModuleLayouts, ASingleDeviceLeavesTheModuleWithItsNumbers) {
  for (const Case& c : {kDivided[0], kNarrow[0]}) {
    Net kept{nullptr};
    torch::Tensor read;
    with_trainer(c, [&](World&, Trainer& trainer, Net& net) {
      step(trainer, 0);
      read = trainer.parameter("first.weight");
      kept = net;
    });
    EXPECT_TRUE(torch::equal(kept->first->weight.to(read.scalar_type()), read));
  }
}

TEST(ModuleLayouts, OtherWritesOnAnotherDeviceAreRefused) {
  for (const Case& c : {kWhole[1], kWhole[3]})
    EXPECT_THROW(with_trainer(c,
                              [&](World& world, Trainer& trainer, Net& net) {
                                step(trainer, 0);
                                const torch::NoGradGuard no_grad;
                                net->second->bias.mul_(world.rank() == 0 ? 0.5 : 0.25);
                                EXPECT_ERROR(step(trainer, 1), InputError,
                                             "trainer - step 1: rank 1 has another write to second.bias than rank "
                                             "0; what is written to the module between steps must be the same "
                                             "on every device");
                                throw std::runtime_error("as expected");
                              }),
                 std::exception);
}

// Weights that are clipped after each step, at once: no peer may still be copying the old ones.
TEST(ModuleLayouts, WritesRightAfterAStepDoNotReachAPeersCopy) {
  const auto train = [](const Case& c) {
    std::vector<float> all;
    std::mutex mutex;
    with_trainer(c, [&](World&, Trainer& trainer, Net& net) {
      float last = 0;
      for (int64_t i = 0; i < 20; ++i) {
        last = step(trainer, i);
        const torch::NoGradGuard no_grad;
        for (torch::Tensor p : net->parameters()) p.mul_(1.03125);
      }
      const std::lock_guard lock(mutex);
      all.push_back(last);
    });
    return all;
  };
  const float want = train(kWhole[0])[0];
  for (const Case& c : kWhole)
    for (float value : train(c)) EXPECT_EQ(value, want);
}

TEST(ModuleLayouts, DevicesThatShareAModuleTrainIt) {
  const auto train = [](int devices) {
    Net net = built();
    std::vector<float> all;
    std::mutex mutex;
    World::threads(devices, [&](World& world) {
      Trainer trainer(world, net, test::loss, {.optimizer = AdamW{.lr = 1e-2}, .microbatches = kMicrobatches});
      float last = 0;
      for (int64_t i = 0; i < 4; ++i) last = step(trainer, i);
      const std::lock_guard lock(mutex);
      all.push_back(last);
    });
    net->eval();
    all.push_back(test::loss(net, batch_of(9)).item<float>());
    return all;
  };
  const std::vector<float> one = train(1), two = train(2);
  EXPECT_EQ(two, (std::vector<float>{one[0], one[0], one[1]}));
}

}  // namespace
}  // namespace shoal
