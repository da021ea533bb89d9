#include "capture/capture.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <set>

#include "base/text.h"
#include "capture/ghost.h"
#include "capture/recorder.h"
#include "graph/passes.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

using graph::InputKind;

bool is_batch_norm(const torch::nn::Module& module, const std::string& tensor_name) {
  const size_t dot = tensor_name.rfind('.');
  const std::string owner = dot == std::string::npos ? "" : tensor_name.substr(0, dot);
  if (owner.empty()) return module.name().find("BatchNorm") != std::string::npos;
  for (const auto& child : module.named_modules())
    if (child.key() == owner) return child.value()->name().find("BatchNorm") != std::string::npos;
  return false;
}

// Inputs of the graph that stand in for the module's tensors and the batch.
struct Twins {
  std::vector<at::Tensor> parameters, buffers;  // as named_tensors
  Batch batch;
};

Twins make_twins(Recording& recording, const torch::nn::Module& module, const NamedTensors& tensors,
                 std::span<const graph::TensorType> types, Precision precision) {
  Twins twins;
  const auto twin_of = [&](const NamedTensor& original, InputKind kind) {
    graph::TensorType type = graph::type_of(original.tensor);
    type.dtype = compute_dtype(module, original, precision);
    at::Tensor twin = recording.add_input(kind, original.name, type);
    if (original.tensor.requires_grad()) twin.requires_grad_();
    recording.substitute(original.tensor, twin);
    return twin;
  };
  for (const NamedTensor& parameter : tensors.parameters)
    twins.parameters.push_back(twin_of(parameter, InputKind::kParameter));
  for (const NamedTensor& buffer : tensors.buffers)
    twins.buffers.push_back(twin_of(buffer, InputKind::kBuffer));
  for (size_t i = 0; i < types.size(); ++i) {
    at::Tensor input = recording.add_input(InputKind::kBatch, std::to_string(i), types[i]);
    if (precision == Precision::kBF16 && types[i].dtype == at::kFloat) {
      const Recording::Scope scope;
      input = input.to(at::kBFloat16);
    }
    twins.batch.push_back(std::move(input));
  }
  return twins;
}

// Runs the model's own code. What LibTorch says of it becomes one sentence.
template <class Code>
void run_model(const Code& code) {
  try {
    const Recording::Scope scope;
    code();
  } catch (const c10::Error& error) {
    std::string reason = error.what_without_backtrace();
    if (reason.find("not allocated") != std::string::npos)
      reason =
          "it reads the numbers of a tensor while it is captured, and there are none yet: keep the "
          "computation in tensor operators (torch::where "
          "instead of if, no data_ptr or accessor)";
    throw InputError(cat("capture - model: ", reason.substr(0, reason.find('\n'))));
  }
}

void refuse_change(const char* kind, const std::string& name, const char* when) {
  throw InputError(cat("capture - ", kind, " ", name, ": forward changes it", when,
                       ", which is not supported; keep forward free of side effects on it"));
}

// The buffers that forward left with another value. A parameter may not be among them.
std::vector<graph::ChangedBuffer> changed_buffers(const Recording& recording, const NamedTensors& tensors,
                                                  const Twins& twins) {
  const std::vector<graph::Input>& inputs = recording.graph().inputs;
  size_t input = 0;
  for (size_t i = 0; i < twins.parameters.size(); ++i)
    if (ghost_id(unwrap(twins.parameters[i])) != inputs[input++].value)
      refuse_change("parameter", tensors.parameters[i].name, "");
  std::vector<graph::ChangedBuffer> changed;
  for (size_t i = 0; i < twins.buffers.size(); ++i) {
    const graph::ValueId before = inputs[input++].value, after = ghost_id(unwrap(twins.buffers[i]));
    if (after != before) changed.push_back({tensors.buffers[i].name, before, after});
  }
  return changed;
}

void check_loss(const at::Tensor& loss) {
  if (!loss.defined()) throw InputError("loss - value: got an undefined tensor, want a scalar");
  if (loss.dim() != 0)
    throw InputError(cat("loss - shape: got [", join(loss.sizes(), ","),
                         "], want a scalar; reduce it, for example with mean()"));
  if (!at::isFloatingType(loss.scalar_type()))
    throw InputError(
        cat("loss - dtype: got ", graph::dtype_name(loss.scalar_type()), ", want a floating-point scalar"));
  if (!loss.requires_grad())
    throw InputError(
        "loss - gradient: it does not depend on any parameter that requires a gradient; check detach(), "
        "no_grad and frozen parameters");
}

}  // namespace

NamedTensors named_tensors(const torch::nn::Module& module) {
  NamedTensors tensors;
  std::set<const c10::TensorImpl*> seen;
  const auto add = [&](std::vector<NamedTensor>& list, const auto& items) {
    for (const auto& item : items)
      if (item.value().defined() && seen.insert(item.value().unsafeGetTensorImpl()).second)
        list.push_back({item.key(), item.value()});
  };
  add(tensors.parameters, module.named_parameters());
  add(tensors.buffers, module.named_buffers());
  return tensors;
}

c10::ScalarType compute_dtype(const torch::nn::Module& module, const NamedTensor& tensor,
                              Precision precision) {
  const c10::ScalarType dtype = tensor.tensor.scalar_type();
  const bool narrows =
      precision == Precision::kBF16 && dtype == at::kFloat && !is_batch_norm(module, tensor.name);
  return narrows ? at::kBFloat16 : dtype;
}

graph::Graph capture_training(const TrainingModel& model, std::span<const graph::TensorType> types,
                              Precision precision, Form form) {
  const NamedTensors tensors = named_tensors(*model.module);
  Recording recording;
  recording.set_comes_apart(form == Form::kDivisible);
  recording.set_fp32_losses(precision == Precision::kBF16);
  const Twins twins = make_twins(recording, *model.module, tensors, types, precision);
  const at::AutoGradMode with_gradients(true);

  std::vector<size_t> trainable;
  std::vector<at::Tensor> leaves, gradients;
  at::Tensor loss;
  run_model([&] {
    loss = model.loss(twins.batch);
    check_loss(loss);
    recording.set_phase(graph::Phase::kBackward);
    for (size_t i = 0; i < twins.parameters.size(); ++i) {
      if (!twins.parameters[i].requires_grad()) continue;
      trainable.push_back(i);
      leaves.push_back(twins.parameters[i]);
    }
    gradients = torch::autograd::grad({loss}, leaves, /*grad_outputs=*/{}, /*retain_graph=*/false,
                                      /*create_graph=*/false,
                                      /*allow_unused=*/true);
  });
  const auto changed = changed_buffers(recording, tensors, twins);

  graph::Graph graph;
  const graph::ValueId loss_value = recording.value_of(loss);
  std::vector<graph::Gradient> captured;
  for (size_t i = 0; i < trainable.size(); ++i)
    if (gradients[i].defined())
      captured.push_back({tensors.parameters[trainable[i]].name, {recording.value_of(gradients[i])}});
  graph = std::move(recording.graph());
  graph.results = {loss_value};
  graph.gradients = std::move(captured);
  return graph::canonicalize(graph::split_buffer_updates(std::move(graph), changed));
}

graph::Graph capture_forward(const torch::nn::Module& module,
                             const std::function<at::Tensor(const Batch&)>& function,
                             std::span<const graph::TensorType> types, Precision precision, Form form) {
  const NamedTensors tensors = named_tensors(module);
  Recording recording;
  recording.set_comes_apart(form == Form::kDivisible);
  recording.set_fp32_losses(precision == Precision::kBF16);
  const Twins twins = make_twins(recording, module, tensors, types, precision);
  const at::AutoGradMode without_gradients(false);
  at::Tensor result;
  run_model([&] { result = function(twins.batch); });
  const auto changed = changed_buffers(recording, tensors, twins);
  if (!changed.empty()) refuse_change("buffer", changed[0].name, " outside of training");
  if (!result.defined()) throw InputError("capture - result: the function returned an undefined tensor");
  const graph::ValueId value = recording.value_of(result);
  graph::Graph graph = std::move(recording.graph());
  graph.results = {value};
  return graph::canonicalize(std::move(graph));
}

}  // namespace shoal::capture

namespace shoal::detail {

std::shared_ptr<const Initialisation> record_initialisation(
    const std::function<std::shared_ptr<torch::nn::Module>()>& construct) {
  capture::Recording recording;
  std::shared_ptr<torch::nn::Module> module;
  capture::run_model([&] { module = construct(); });
  if (!module) throw InputError("describe - construct: it returned an empty module holder");
  const capture::NamedTensors tensors = capture::named_tensors(*module);
  std::vector<graph::ValueId> results;
  for (const auto* list : {&tensors.parameters, &tensors.buffers})
    for (const capture::NamedTensor& tensor : *list) results.push_back(recording.value_of(tensor.tensor));
  auto initialisation = std::make_shared<Initialisation>();
  initialisation->graph = std::move(recording.graph());
  initialisation->graph.results = std::move(results);
  graph::verify(initialisation->graph, "of an initialisation, as recorded");
  return initialisation;
}

}  // namespace shoal::detail
