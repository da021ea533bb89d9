// The seam: a device that is known by its interface alone (kernels/device.h) computes what the CPU computes, and all
// that is asked of it is asked rightly.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "comm/comm.h"
#include "kernels/cpu/cpu_device.h"
#include "support/counting_device.h"
#include "support/expect_error.h"
#include "support/programs.h"

namespace shoal::kernels {
namespace {

using test::CountingDevice;
using test::DeviceCall;
using torch::Tensor;

TEST(CountedDevice, RunsPrograms) {
  CountingDevice device(cpu());
  struct Case {
    bool words;
    int64_t chunks;
    Precision precision;
    Layout layout;
  };
  for (const Case& c : {Case{false, 1, Precision::kFP32, {.dp = 2, .zero = 0}},
                        Case{false, 1, Precision::kBF16, {.dp = 3, .zero = 2}},
                        Case{true, 1, Precision::kFP32, {.dp = 2, .zero = 3}},
                        Case{true, 2, Precision::kBF16, {.dp = 2, .tp = 2, .zero = 2}},
                        Case{true, 2, Precision::kFP32, {.dp = 2, .tp = 2, .servers = 1}}}) {
    SCOPED_TRACE(print(c.layout));
    const test::ProgramModel on_cpu = test::program_model(c.words, c.chunks, c.precision),
                             model = test::program_model(c.words, c.chunks, c.precision, device);
    EXPECT_EQ(graph::print(model.graph), graph::print(on_cpu.graph));
    const auto programs = test::programs_of(on_cpu, c.layout, 4);
    const test::Ran want = test::run_programs(on_cpu, programs, 2);
    EXPECT_EQ(test::first_difference(test::run_programs(model, programs, 2, device), want), "");
  }
  for (const DeviceCall call :
       {DeviceCall::kEmpty, DeviceCall::kView, DeviceCall::kCopy, DeviceCall::kParts, DeviceCall::kSum,
        DeviceCall::kSquares, DeviceCall::kKernel, DeviceCall::kReproducible, DeviceCall::kShapes,
        DeviceCall::kServe, DeviceCall::kAllocate, DeviceCall::kLend, DeviceCall::kReserve})
    EXPECT_GT(device.count(call), 0) << test::kDeviceCallNames[static_cast<size_t>(call)];
  EXPECT_EQ(device.faults(), std::vector<std::string>());
}

// Attention with heads of its own, and a layer of an LSTM.
class SequenceNetImpl : public torch::nn::Module {
 public:
  SequenceNetImpl() {
    heads_ = register_module("heads", torch::nn::Linear(8, 24));
    lstm_ = register_module("lstm", torch::nn::LSTM(torch::nn::LSTMOptions(8, 8).batch_first(true)));
  }
  Tensor forward(const Tensor& x) {
    const auto split = heads_->forward(x).view({x.size(0), x.size(1), 2, 12}).transpose(1, 2).chunk(3, -1);
    const Tensor mixed = at::scaled_dot_product_attention(split[0], split[1], split[2]);
    return std::get<0>(lstm_->forward(mixed.transpose(1, 2).reshape(x.sizes())));
  }

 private:
  torch::nn::Linear heads_{nullptr};
  torch::nn::LSTM lstm_{nullptr};
};
TORCH_MODULE(SequenceNet);

// What a Trainer of this World makes of a described model.
std::map<std::string, Tensor> train(World world) {
  const auto model = describe([] { return SequenceNet(); });
  const auto loss = [](SequenceNet& net, const Batch& batch) {
    return torch::mse_loss(net->forward(batch[0]), batch[1]);
  };
  Trainer trainer(world, model, loss, {.optimizer = Sgd{.lr = 0.1}, .microbatches = 2, .seed = 3});
  const auto generator = at::detail::createCPUGenerator(4);
  for (int step = 0; step < 5; ++step)
    trainer.step({torch::randn({4, 5, 8}, generator), torch::randn({4, 5, 8}, generator)});
  std::map<std::string, Tensor> numbers;
  for (const std::string& name : SequenceNet()->named_parameters().keys()) numbers[name] = trainer.parameter(name);
  return numbers;
}

TEST(CountedDevice, Trains) {
  CountingDevice device(cpu());
  const auto want = train(World(comm::single())), got = train(World(comm::single(), device));
  for (const auto& [name, numbers] : want) EXPECT_TRUE(torch::equal(got.at(name), numbers)) << name;
  for (size_t call = 0; call < test::kDeviceCallNames.size(); ++call) {
    const auto kind = static_cast<DeviceCall>(call);
    if (kind == DeviceCall::kParts) continue;  // nothing is cut here
    EXPECT_GT(device.count(kind), 0) << test::kDeviceCallNames[call];
  }
  EXPECT_EQ(device.faults(), std::vector<std::string>());
}

TEST(CountedDevice, FindsWrongCalls) {
  CountingDevice device(cpu());
  const Tensor a = device.empty({64}, at::kFloat), b = device.empty({64}, at::kFloat);
  auto* const x = a.mutable_data_ptr<float>();
  auto* const y = b.mutable_data_ptr<float>();
  EXPECT_ERROR(device.copy(x + 60, y, 32), std::logic_error,
               "device call copy to - 32 bytes from 240 of a tensor of 256");
  EXPECT_ERROR(device.copy(x, x + 1, 16), std::logic_error, "device call copy - what it reads overlaps");
  EXPECT_ERROR(device.view(x + 1, {4}, at::kFloat), std::logic_error,
               "device call view - the address is no multiple of 64");
  const auto sum = [&](std::vector<Range> leaves, float* out) {
    std::vector<comm::Root> roots;
    for (const Range range : leaves)
      roots.push_back({range, reinterpret_cast<const std::byte*>(y), comm::DType::kF32});
    device.sum_roots(4, roots, {out, 16});
  };
  EXPECT_ERROR(sum({{0, 2}, {3, 4}}, x), std::logic_error,
               "device call sum_roots - leaves 2 and 3 do not meet");
  EXPECT_ERROR(sum({{0, 2}}, x), std::logic_error, "device call sum_roots - got 2 leaves, want 4");
  EXPECT_ERROR(sum({{0, 1}, {1, 3}, {3, 4}}, x), std::logic_error,
               "device call sum_roots - leaves 1 to 3 of 4 are no subtree");
  EXPECT_ERROR(sum({{0, 4}}, y), std::logic_error, "(nothing was thrown)");
  EXPECT_EQ(device.faults(), std::vector<std::string>());
  std::byte* const region = device.reserve(4096);
  EXPECT_EQ(device.faults(), std::vector<std::string>{"reserve: a region of 4096 bytes is left"});
  device.give_back(region, 4096);
  device.give_back(region, 4096);
  EXPECT_EQ(device.faults(), std::vector<std::string>{"give_back: no such region"});
}

}  // namespace
}  // namespace shoal::kernels
