#include "session/eager_run.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "capture/capture.h"
#include "capture/draws.h"
#include "capture/hooks.h"
#include "capture/interception.h"
#include "graph/operator.h"
#include "run/frame.h"
#include "run/initialise.h"
#include "session/module_link.h"

namespace shoal::session {
namespace {

// "aten::bernoulli_.float" and the functional "aten::bernoulli.p" draw the same: "aten::bernoulli".
std::string drawn_by(std::string op) {
  op = op.substr(0, op.find('.'));
  if (op.ends_with("_functional")) op.resize(op.size() - std::string_view("_functional").size());
  if (op.ends_with('_')) op.pop_back();
  return op;
}

// What an operator that changes arguments leaves, of what its functional form returns: its own results, if it
// has any beside those arguments, then their new values.
void leave_changes(const c10::FunctionSchema& schema, const torch::jit::Stack& arguments,
                   torch::jit::Stack& results) {
  std::vector<at::Tensor> changed;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (const auto* alias = schema.arguments()[i].alias_info(); alias != nullptr && alias->isWrite())
      changed.push_back(arguments[i].toTensor());
  if (changed.empty()) return;
  const size_t first = results.size() - changed.size();
  for (size_t i = 0; i < changed.size(); ++i) changed[i].copy_(results[first + i].toTensor());
  results.resize(first);
  if (results.empty()) results.emplace_back(changed[0]);
}

// The kernels of the graph's random nodes, for the operators of eager code that they were recorded from.
capture::Draws::Function draw_as(kernels::Device& device, const graph::Graph& graph,
                                 const kernels::RandomKey& key) {
  std::map<int, std::string> nodes;
  for (const graph::Node& node : graph.nodes)
    if (node.random >= 0) nodes[node.random] = node.op;
  return [&device, nodes, key, next = 0](const c10::OperatorHandle& op, torch::jit::Stack& stack) mutable {
    const int stream = next++;
    const auto node = nodes.find(stream);
    if (node == nodes.end() || drawn_by(graph::operator_text(op.operator_name())) != drawn_by(node->second))
      return false;
    const kernels::Kernel kernel = device.find_kernel(node->second);
    if (kernel == nullptr) return false;
    const size_t count = op.schema().arguments().size();
    const torch::jit::Stack arguments(stack.end() - static_cast<std::ptrdiff_t>(count), stack.end());
    torch::jit::Stack results = arguments;
    kernel(results, {key, stream});
    leave_changes(op.schema(), arguments, results);
    torch::jit::drop(stack, count);
    stack.insert(stack.end(), results.begin(), results.end());
    return true;
  };
}

}  // namespace

Numbers numbers_of(kernels::Device& device, const TrainingModel& model, Precision precision) {
  const std::vector<capture::NamedTensor> all = capture::named_tensors(*model.module).all();
  Numbers numbers;
  const auto add = [&](const capture::NamedTensor& named, const at::Tensor& value) {
    numbers[named.name] =
        value.detach()
            .to(capture::compute_dtype(*model.module, named, precision), false, /*copy=*/true)
            .contiguous();
  };
  if (model.initialisation) {
    run::initialise(device, model.initialisation->graph, /*seed=*/1, [&](int index, const at::Tensor& value) {
      add(all.at(static_cast<size_t>(index)), value);
    });
    return numbers;
  }
  for (const capture::NamedTensor& named : all) {
    check_has_numbers(named);
    add(named, named.tensor);
  }
  return numbers;
}

// Real numbers take the place of the module's tensors operator by operator, so that it stays as it is.
Outcome run_eagerly(kernels::Device& device, const TrainingModel& model, const Numbers& numbers,
                    const Microbatch& microbatch, const graph::Graph& graph, Precision precision) {
  const capture::NamedTensors tensors = capture::named_tensors(*model.module);
  capture::Interception interception;
  interception.set_bf16(precision == Precision::kBF16);
  std::vector<std::string> names;
  std::vector<at::Tensor> leaves;
  Numbers twins;
  for (const capture::NamedTensor& named : tensors.all()) {
    at::Tensor twin = numbers.at(named.name).clone();
    if (named.tensor.requires_grad()) {
      twin.requires_grad_();
      names.push_back(named.name);
      leaves.push_back(twin);
    }
    interception.substitute(named.name, named.tensor, twin);
    capture::lend_hooks(named.name, named.tensor, twin);
    twins[named.name] = twin;
  }
  Batch inputs;
  for (const at::Tensor& tensor : microbatch.batch)
    inputs.push_back(precision == Precision::kBF16 && tensor.scalar_type() == at::kFloat
                         ? tensor.to(at::kBFloat16)
                         : tensor.clone());  // the batch is the caller's, also where forward writes to it
  const at::AutoGradMode gradients(microbatch.training);
  const capture::Draws draws(draw_as(device, graph, microbatch.random));
  const capture::Interception::Scope scope;
  Outcome outcome;
  outcome.loss = model.loss(inputs);
  if (microbatch.training && outcome.loss.requires_grad()) {
    const auto all = torch::autograd::grad({outcome.loss}, leaves, {}, false, false, /*allow_unused=*/true);
    for (size_t i = 0; i < names.size(); ++i)
      if (all[i].defined()) outcome.gradients[names[i]] = all[i].detach();
  }
  outcome.loss = outcome.loss.detach();
  for (const capture::NamedTensor& named : tensors.buffers)
    outcome.buffers[named.name] = twins.at(named.name).detach();
  return outcome;
}

Outcome replay(kernels::Device& device, const graph::Graph& graph, const Numbers& numbers,
               const Microbatch& microbatch) {
  const auto run = [&](const graph::Graph& graph, const std::vector<at::Tensor>& batch) {
    std::vector<at::Tensor> inputs, outputs(graph::outputs(graph).size());
    size_t next = 0;
    for (const graph::Input& input : graph.inputs) {
      const bool is_batch = input.kind == graph::InputKind::kBatch;
      inputs.push_back(is_batch                       ? batch.at(next++)
                       : numbers.contains(input.name) ? numbers.at(input.name)
                                                      : at::Tensor());  // constants, externals: the graph's
    }
    run::CompiledGraph compiled(graph, device);
    run::Frame(compiled).run_all(
        {.inputs = inputs, .random = microbatch.random},
        [&](int index, const at::Tensor& value) { outputs[static_cast<size_t>(index)] = value.clone(); });
    return outputs;
  };
  const std::vector<at::Tensor> outputs = run(graph, microbatch.batch);
  Outcome outcome{outputs[0], {}, {}};
  size_t output = 1;
  for (const graph::Gradient& gradient : graph.gradients) {
    at::Tensor sum = outputs[output++];
    for (size_t c = 1; c < gradient.contributions.size(); ++c) sum = sum + outputs[output++];
    outcome.gradients[gradient.parameter] = sum;
  }
  for (const auto& [name, tensor] : numbers) outcome.buffers[name] = tensor;
  if (!graph.buffer_update.buffers.empty()) {
    const std::vector<at::Tensor> observed(outputs.begin() + static_cast<std::ptrdiff_t>(output),
                                           outputs.end());
    const std::vector<at::Tensor> updated = run(*graph.buffer_update.update, observed);
    for (size_t i = 0; i < updated.size(); ++i) outcome.buffers[graph.buffer_update.buffers[i]] = updated[i];
  }
  return outcome;
}

}  // namespace shoal::session
