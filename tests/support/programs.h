// Small models as divided graphs, their Programs in any layout, and devices that run them: threads of the test,
// without a Trainer.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "capture/capture.h"
#include "comm/group.h"
#include "kernels/cpu/cpu_device.h"
#include "lower/lower.h"
#include "numerics/divided_run.h"
#include "run/exchange.h"
#include "run/execution.h"
#include "run/interpreter.h"
#include "session/batch.h"
#include "shoal/shoal.h"

namespace shoal::test {

/// Two layers, the second one's weight used twice, and a batch norm whose statistics forward changes.
class TiedNetImpl : public torch::nn::Module {
 public:
  TiedNetImpl() {
    first_ = register_module("first", torch::nn::Linear(8, 16));
    norm_ = register_module("norm", torch::nn::BatchNorm1d(16));
    second_ = register_module("second", torch::nn::Linear(16, 16));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return second_->forward(torch::tanh(second_->forward(torch::relu(norm_->forward(first_->forward(x))))));
  }

 private:
  torch::nn::Linear first_{nullptr}, second_{nullptr};
  torch::nn::BatchNorm1d norm_{nullptr};
};
TORCH_MODULE(TiedNet);

/// An embedding, larger than a block so that devices share it, and a layer with dropout.
class WordNetImpl : public torch::nn::Module {
 public:
  WordNetImpl() {
    words_ = register_module("words", torch::nn::Embedding(4200, 16));
    layer_ = register_module("layer", torch::nn::Linear(16, 16));
    out_ = register_module("out", torch::nn::Linear(16, 16));
  }
  torch::Tensor forward(const torch::Tensor& tokens) {
    return out_->forward(torch::dropout(torch::relu(layer_->forward(words_->forward(tokens))), 0.1, is_training()));
  }

 private:
  torch::nn::Embedding words_{nullptr};
  torch::nn::Linear layer_{nullptr}, out_{nullptr};
};
TORCH_MODULE(WordNet);

struct ProgramModel {
  graph::Graph graph;  // divided
  lower::Storage storage;
  std::map<std::string, at::Tensor> numbers;  // of parameters and buffers
  std::map<std::string, c10::ScalarType> dtypes;
  std::function<Batch(int64_t seed)> batch;
};

inline ProgramModel program_model(bool words, int64_t chunks, Precision precision = Precision::kFP32,
                                  kernels::Device& device = kernels::cpu()) {
  device.make_reproducible();
  torch::set_num_threads(1);
  ProgramModel model;
  std::shared_ptr<torch::nn::Module> module;
  TrainingModel training;
  torch::manual_seed(1);
  if (words) {
    WordNet net;
    module = net.ptr();
    training = {net.ptr(), nullptr, [net](const Batch& batch) mutable {
                  return torch::nn::functional::cross_entropy(net->forward(batch[0]), batch[1]);
                }};
    model.batch = [](int64_t seed) -> Batch {
      at::Generator random = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed));  // of this thread
      return {at::randint(4200, {6}, random, at::kLong), at::randint(16, {6}, random, at::kLong)};
    };
  } else {
    TiedNet net;
    module = net.ptr();
    training = {net.ptr(), nullptr, [net](const Batch& batch) mutable {
                  return torch::mse_loss(net->forward(batch[0]).to(torch::kFloat), batch[1]);
                }};
    model.batch = [](int64_t seed) -> Batch {
      at::Generator random = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed));
      return {at::randn({6, 8}, random), at::randn({6, 16}, random)};
    };
  }
  const session::Shapes types = session::shapes_of(model.batch(0));
  graph::Graph captured = capture::capture_training(
      device, training, types, precision, chunks > 1 ? capture::Form::kDivisible : capture::Form::kWhole);
  model.graph = numerics::divide_run(std::move(captured), chunks, nullptr).graph;
  model.storage = lower::plan_storage(model.graph);
  for (const capture::NamedTensor& named : capture::named_tensors(*module).all()) {
    model.numbers[named.name] = named.tensor.detach().clone();
    model.dtypes[named.name] = capture::compute_dtype(*module, named, precision);
  }
  return model;
}

inline std::vector<lower::Program> programs_of(const ProgramModel& model, const Layout& layout, int64_t microbatches) {
  const lower::Ownership ownership = lower::own(model.graph, model.storage, layout);
  return lower::lower_training(model.graph, ownership, microbatches, 0).programs;
}

/// What one device keeps of the model, with its first numbers.
struct ModelMemory {
  ModelMemory(World& world, const ProgramModel& model, const Layout& layout, int64_t microbatches,
              kernels::Device& device)
      : group(world.communicator()),
        ownership(lower::own(model.graph, model.storage, layout)),
        memory(group, ownership, lower::schedule_gradients(microbatches, layout, world.rank()), device) {
    for (const auto& [name, value] : model.numbers) memory.install(name, value, model.dtypes.at(name));
  }
  comm::Group group;
  const lower::Ownership ownership;
  run::DeviceMemory memory;
};

struct Ran {
  std::vector<double> losses;                 // by step
  std::map<std::string, at::Tensor> numbers;  // of parameters and buffers, at the end
};

/// Is told what a device wrote down of a step; one device at a time.
using Traced = std::function<void(int rank, const run::StepTrace&, const run::StepOutcome&)>;

/// Runs these Programs for `steps` steps of plain gradient descent, a thread for each device.
inline Ran run_programs(const ProgramModel& model, const std::vector<lower::Program>& programs, int64_t steps = 2,
                        kernels::Device& device = kernels::cpu(), const Traced& traced = {}) {
  Ran ran;
  std::mutex mutex;
  const Layout& layout = programs.at(0).layout;
  World::threads(static_cast<int>(layout.devices()), [&](World& world) {
    const int rank = world.rank();
    const lower::Program& program = programs[static_cast<size_t>(rank)];
    ModelMemory kept(world, model, layout, program.num_microbatches, device);
    auto& [group, ownership, memory] = kept;
    run::Interpreter interpreter(group, memory, [](std::vector<run::OwnedShard>& owned, float divisor) {
      const c10::InferenceMode no_autograd;
      for (run::OwnedShard& piece : owned) piece.master.sub_(piece.gradient * (0.1F / divisor));
    });
    lower::LocalGraph local = lower::lower_training(model.graph, ownership, program.num_microbatches, rank).local;
    std::optional<run::Exchanger> exchanger;
    const mesh::Role role = ownership.role(rank);
    if (layout.tp > 1 && role.computes) {
      exchanger.emplace(comm::Group(group, mesh::mesh_of(layout).group(rank, "tp")), local.half_bytes,
                        device);
      interpreter.set_exchanger(&*exchanger);
    }
    run::Execution execution(std::move(local), program, model.storage, group, world.live_tensors(), device);
    execution.externals.bind();
    group.barrier();
    std::vector<double> losses;
    run::StepTrace trace;
    for (int64_t step = 0; step < steps; ++step) {
      const run::StepOutcome outcome =
          interpreter.run(execution, {.batch = [&](int64_t m) { return model.batch(100 * step + m); },
                                      .random = {1, step, 0},
                                      .step = step,
                                      .clip_norm = 1,
                                      .trace = traced ? &trace : nullptr});
      losses.push_back(outcome.loss);
      const std::lock_guard lock(mutex);
      if (traced) traced(rank, trace, outcome);
    }
    group.barrier();
    std::map<std::string, at::Tensor> numbers;
    for (const auto& [name, value] : model.numbers) numbers[name] = memory.whole(name);
    group.barrier();
    const std::lock_guard lock(mutex);
    if (rank == 0) ran = {losses, numbers};
  });
  return ran;
}

/// Empty when both ended with the same bits.
inline std::string first_difference(const Ran& got, const Ran& want) {
  if (got.losses != want.losses) return "the losses";
  for (const auto& [name, value] : want.numbers)
    if (!torch::equal(got.numbers.at(name), value)) return name;
  return "";
}

/// Layouts of every kind, for a model divided in two.
inline std::vector<Layout> layouts_of_every_kind() {
  return {{},
          {.dp = 2, .zero = 0},
          {.dp = 3},
          {.dp = 2, .zero = 2},
          {.dp = 3, .zero = 2},
          {.dp = 3, .zero = 3},
          {.dp = 2, .servers = 1},
          {.dp = 2, .servers = 2},
          {.pp = 2},
          {.dp = 2, .zero = 0, .pp = 2, .schedule = Schedule::kZeroBubble},
          {.dp = 2, .zero = 3, .pp = 2},
          {.servers = 1, .pp = 3, .schedule = Schedule::kGPipe}};
}
inline std::vector<Layout> divided_layouts() {
  return {{.tp = 2},
          {.dp = 2, .tp = 2, .zero = 0},
          {.dp = 2, .tp = 2},
          {.dp = 2, .tp = 2, .zero = 2},
          {.dp = 2, .tp = 2, .zero = 3},
          {.dp = 2, .tp = 2, .servers = 1},
          {.tp = 2, .servers = 3},
          {.tp = 2, .pp = 2}};
}

}  // namespace shoal::test
