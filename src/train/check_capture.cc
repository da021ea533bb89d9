// check_capture: is the graph of a model what the model does?
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>

#include "base/text.h"
#include "capture/capture.h"
#include "capture/hooks.h"
#include "capture/interception.h"
#include "graph/passes.h"
#include "run/executor.h"
#include "run/initialise.h"
#include "run/reproducible.h"
#include "shoal/error.h"
#include "shoal/model.h"

namespace shoal {
namespace {

// Puts the module back into the mode it was in.
class ModeGuard {
 public:
  explicit ModeGuard(torch::nn::Module& module) : module_(module), training_(module.is_training()) {}
  ~ModeGuard() { module_.train(training_); }

 private:
  torch::nn::Module& module_;
  bool training_;
};

void check_same_text(const graph::Graph& first, const graph::Graph& second) {
  const auto a = split(graph::print(first), '\n'), b = split(graph::print(second), '\n');
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string x = i < a.size() ? a[i] : "(end)", y = i < b.size() ? b[i] : "(end)";
    if (x != y)
      throw JobError(cat("check_capture - two captures differ at line ", i + 1, ": got \"", y, "\", want \"",
                         x,
                         "\"; the model depends on something of the host that changes (a counter, rand(), a "
                         "tensor made by hand)"));
  }
}

// The module's tensors with their numbers, by name, in the dtype that the graph's inputs have.
std::map<std::string, at::Tensor> numbers_of(const TrainingModel& model, Precision precision) {
  const capture::NamedTensors tensors = capture::named_tensors(*model.module);
  std::vector<capture::NamedTensor> all = tensors.parameters;
  all.insert(all.end(), tensors.buffers.begin(), tensors.buffers.end());
  std::map<std::string, at::Tensor> numbers;
  const auto add = [&](const capture::NamedTensor& named, const at::Tensor& value) {
    numbers[named.name] =
        value.detach()
            .to(capture::compute_dtype(*model.module, named, precision), false, /*copy=*/true)
            .contiguous();
  };
  if (!model.initialisation) {
    for (const auto& named : all) add(named, named.tensor);
    return numbers;
  }
  run::initialise(model.initialisation->graph, /*seed=*/1,
                  [&](int index, const at::Tensor& value) { add(all[static_cast<size_t>(index)], value); });
  return numbers;
}

struct LossAndGradients {
  at::Tensor loss;
  std::map<std::string, at::Tensor> gradients;
};

// The module's own code on real numbers, which take the place of its tensors operator by operator.
LossAndGradients run_eagerly(const TrainingModel& model, const std::map<std::string, at::Tensor>& numbers,
                             const Batch& batch, Precision precision) {
  const capture::NamedTensors tensors = capture::named_tensors(*model.module);
  capture::Interception interception(at::kCPU);
  interception.set_bf16(precision == Precision::kBF16);
  std::vector<std::string> names;
  std::vector<at::Tensor> leaves;
  for (const auto* list : {&tensors.parameters, &tensors.buffers}) {
    for (const capture::NamedTensor& named : *list) {
      at::Tensor twin = numbers.at(named.name).clone();
      if (named.tensor.requires_grad()) {
        twin.requires_grad_();
        names.push_back(named.name);
        leaves.push_back(twin);
      }
      interception.substitute(named.name, named.tensor, twin);
      capture::lend_hooks(named.name, named.tensor, twin);
    }
  }
  Batch inputs;
  for (const at::Tensor& tensor : batch)
    inputs.push_back(precision == Precision::kBF16 && tensor.scalar_type() == at::kFloat
                         ? tensor.to(at::kBFloat16)
                         : tensor);
  const at::AutoGradMode with_gradients(true);
  const capture::Interception::Scope scope;
  LossAndGradients result;
  result.loss = model.loss(inputs);
  const auto gradients =
      torch::autograd::grad({result.loss}, leaves, {}, false, false, /*allow_unused=*/true);
  for (size_t i = 0; i < names.size(); ++i)
    if (gradients[i].defined()) result.gradients[names[i]] = gradients[i].detach();
  result.loss = result.loss.detach();
  return result;
}

LossAndGradients replay(const graph::Graph& graph, const std::map<std::string, at::Tensor>& numbers,
                        const Batch& batch) {
  std::vector<at::Tensor> inputs;
  size_t next = 0;
  for (const graph::Input& input : graph.inputs) {
    const bool is_batch = input.kind == graph::InputKind::kBatch;
    inputs.push_back(is_batch                                    ? batch.at(next++)
                     : numbers.contains(input.name) ? numbers.at(input.name)
                                                    : at::Tensor());  // constants, externals: the executor's
  }
  std::vector<at::Tensor> outputs(graph::outputs(graph).size());
  run::Executor executor(graph);
  run::Executor::Run run;
  run.inputs = inputs;
  run.sink = [&](int index, const at::Tensor& value) { outputs[static_cast<size_t>(index)] = value.clone(); };
  executor.run(run);
  LossAndGradients result{outputs[0], {}};
  size_t output = 1;
  for (const graph::Gradient& gradient : graph.gradients) {
    at::Tensor sum = outputs[output++];
    for (size_t c = 1; c < gradient.contributions.size(); ++c) sum = sum + outputs[output++];
    result.gradients[gradient.parameter] = sum;
  }
  return result;
}

void check_same_bits(const std::string& what, const at::Tensor& got, const at::Tensor& want) {
  if (at::equal(got, want)) return;
  throw JobError(cat("check_capture - ", what, ": the replay differs from eager on ",
                     (got != want).sum().item<int64_t>(), " of ", want.numel(), " elements, at most by ",
                     (got.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>()));
}

}  // namespace

void check_capture(const TrainingModel& model, const Batch& batch, Precision precision) {
  if (!model.module) throw InputError("check_capture - model: got an empty module holder");
  run::make_reproducible();
  const ModeGuard mode(*model.module);
  std::vector<graph::TensorType> types;
  Batch dense;
  for (const at::Tensor& tensor : batch) {
    dense.push_back(tensor.contiguous());
    types.push_back(graph::type_of(dense.back()));
  }
  graph::Graph graph = capture::capture_training(model, types, precision);
  check_same_text(graph, capture::capture_training(model, types, precision));
  const bool random = std::any_of(graph.nodes.begin(), graph.nodes.end(),
                                  [](const graph::Node& node) { return node.random >= 0; });
  if (random) {
    model.module->eval();
    graph = capture::capture_training(model, types, precision);
  }
  const auto numbers = numbers_of(model, precision);
  const LossAndGradients want = run_eagerly(model, numbers, dense, precision),
                         got = replay(graph, numbers, dense);
  check_same_bits("loss", got.loss, want.loss);
  for (const auto& [name, gradient] : want.gradients) {
    const auto found = got.gradients.find(name);
    if (found == got.gradients.end())
      throw JobError(cat("check_capture - gradient of ", name, ": the graph has none"));
    // In bf16, gradients of embeddings are kept wider than eager keeps them (docs/numerics.md, "bf16").
    if (found->second.scalar_type() == gradient.scalar_type())
      check_same_bits(cat("gradient of ", name), found->second, gradient);
  }
}

}  // namespace shoal
