#include "capture/capture.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/activation.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "capture/ghost.h"
#include "capture/hooks.h"
#include "capture/own_tensors.h"
#include "capture/recorder.h"
#include "graph/passes.h"
#include "kernels/cpu/cpu_device.h"
#include "numerics/passes.h"
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
  // Dense, as a device keeps it, however the original lies in memory.
  const auto twin_of = [&](const NamedTensor& original, InputKind kind) {
    const auto type =
        graph::contiguous_type(compute_dtype(module, original, precision), original.tensor.sizes().vec());
    at::Tensor twin = recording.add_twin(kind, original.name, original.tensor, type);
    lend_hooks(original.name, original.tensor, twin);
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
void run_model(Recording& recording, const Code& code) {
  try {
    const Recording::Scope scope;
    code();
  } catch (const c10::Error& error) {
    std::string reason = error.what_without_backtrace();
    if (reason.find("not allocated") != std::string::npos)
      throw InputError(
          "capture - model: it reads the numbers of a tensor while it is captured (data_ptr, an accessor, "
          "printing), and there are none yet: keep the computation in tensor operators (torch::where instead "
          "of if), and print outside of forward");
    reason = reason.substr(0, reason.find('\n'));
    if (reason.find("variable.set_data") != std::string::npos)
      throw InputError(
          "capture - model: forward gives a tensor other data (set_data), which is not supported; compute a new "
          "tensor and use that");
    if (reason.find("appears to not have been used in the graph") != std::string::npos)
      reason = "autograd::grad in forward asks for the gradient of a tensor that nothing was computed from; a "
               "parameter has its gradient after forward, not inside of it";
    const bool mixes = reason.find("dtype") != std::string::npos || reason.find("scalar type") != std::string::npos;
    throw InputError(cat("capture - model: ", reason,
                         recording.failed().empty() ? "" : cat("; in ", recording.failed()),
                         mixes && recording.failed().find("bf16") != std::string::npos
                             ? "; in a bf16 run parameters and batch are bf16, other tensors become so by "
                               ".to(x.scalar_type())"
                             : ""));
  }
}

bool has_attention(const torch::nn::Module& module) {
  const auto is_attention = [](const torch::nn::Module& each) {
    return dynamic_cast<const torch::nn::MultiheadAttentionImpl*>(&each) != nullptr;
  };
  const auto children = module.modules(/*include_self=*/false);
  return is_attention(module) ||
         std::ranges::any_of(children, [&](const auto& child) { return is_attention(*child); });
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

bool reads_the_same(const std::map<graph::ValueId, at::Tensor>& a, const std::map<graph::ValueId, at::Tensor>& b) {
  return std::ranges::equal(a, b, [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.is_same(y.second);
  });
}

std::vector<NamedTensor> NamedTensors::all() const {
  std::vector<NamedTensor> all = parameters;
  all.insert(all.end(), buffers.begin(), buffers.end());
  return all;
}

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

namespace {

bool has_hooks(const NamedTensors& tensors) {
  return std::ranges::any_of(tensors.parameters,
                             [](const NamedTensor& named) { return count_hooks(named.tensor) > 0; });
}

Twins set_up(Recording& recording, const torch::nn::Module& module, const NamedTensors& tensors,
             std::span<const graph::TensorType> types, Precision precision, Form form) {
  recording.set_comes_apart(form == Form::kDivisible);
  recording.set_bf16(precision == Precision::kBF16);
  recording.set_unlike_queries(has_attention(module));
  return make_twins(recording, module, tensors, types, precision);
}

// Two graphs of calls one after the other, as text.
[[noreturn]] void refuse_unsteady(const std::string& before, const std::string& after) {
  const auto a = split(before, '\n'), b = split(after, '\n');
  const size_t line = first_unlike(a, b);
  throw InputError(cat("capture - model: each call of it computes something else (first \"",
                       line < a.size() ? a[line] : "(end)", "\", then \"", line < b.size() ? b[line] : "(end)",
                       "\"): its code goes on with something of the host that it changes itself (a counter, "
                       "rand()); draw by torch::rand, or count outside of forward, between steps"));
}

// The call that a recording was of, with the passes run.
Call finished(Recording& recording, graph::Graph graph) {
  graph = numerics::canonicalize(std::move(graph));
  std::string text = graph::print(graph);
  return {std::move(graph), std::move(text), recording.take_trace()};
}

Call record_training(kernels::Device& device, const TrainingModel& model,
                     std::span<const graph::TensorType> types, Precision precision, Form form) {
  const NamedTensors tensors = named_tensors(*model.module);
  Recording recording(RecordingOf::kForward, device);
  Twins twins = set_up(recording, *model.module, tensors, types, precision, form);
  const OwnTensors own(tensors);
  const at::AutoGradMode with_gradients(true);

  std::vector<size_t> trainable;
  std::vector<at::Tensor> leaves, gradients;
  at::Tensor loss;
  run_model(recording, [&] {
    loss = model.loss(twins.batch);
    check_loss(loss);
    recording.trace().set_result(loss);
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
  own.check();
  recording.check_externals();
  const auto changed = changed_buffers(recording, tensors, twins);

  const graph::ValueId loss_value = recording.value_of(loss);
  std::vector<graph::Gradient> captured;
  for (size_t i = 0; i < trainable.size(); ++i)
    if (gradients[i].defined())
      captured.push_back({tensors.parameters[trainable[i]].name, {recording.value_of(gradients[i])}});
  recording.trace().set_batch(std::move(twins.batch));
  if (has_hooks(tensors)) recording.trace().give_up();
  recording.leave();
  graph::Graph graph = std::move(recording.graph());
  graph.results = {loss_value};
  graph.gradients = std::move(captured);
  return finished(recording, graph::split_buffer_updates(std::move(graph), changed));
}

Call record_forward(kernels::Device& device, const torch::nn::Module& module,
                    const std::function<at::Tensor(const Batch&)>& function,
                    std::span<const graph::TensorType> types, Precision precision, Form form) {
  const NamedTensors tensors = named_tensors(module);
  Recording recording(RecordingOf::kForward, device);
  Twins twins = set_up(recording, module, tensors, types, precision, form);
  const OwnTensors own(tensors);
  const at::AutoGradMode without_gradients(false);
  at::Tensor result;
  run_model(recording, [&] { result = function(twins.batch); });
  own.check();
  recording.check_externals();
  const auto changed = changed_buffers(recording, tensors, twins);
  if (!changed.empty()) refuse_change("buffer", changed[0].name, " outside of training");
  if (!result.defined()) throw InputError("capture - result: the function returned an undefined tensor");
  const graph::ValueId value = recording.value_of(result);
  recording.trace().set_result(result);
  recording.trace().set_batch(std::move(twins.batch));
  recording.leave();
  graph::Graph graph = std::move(recording.graph());
  graph.results = {value};
  return finished(recording, std::move(graph));
}

// The call is one like all later ones: its code, called again, does the same. The first call may make what later
// ones go on with (a mask that is kept), so the second one counts then.
Call settled(const std::function<Call()>& record, const std::function<at::Tensor(const Batch&)>& code,
             bool gradients, const std::string& known) {
  Call call = record();
  if (!call.trace->is_usable() && call.text == known) return call;
  for (int attempt = 0;; ++attempt) {
    if (call.trace->is_repeated_by(code, gradients)) return call;
    Call next = record();
    std::swap(call, next);  // `next` is the one before
    const bool same = call.text == next.text;
    if (same && reads_the_same(call.graph.externals, next.graph.externals)) {  // though it cannot be told without recording it
      if (!call.trace->is_repeated_by(code, gradients)) call.trace->give_up();
      return call;
    }
    if (attempt < 1) continue;
    if (same)
      throw InputError(
          "capture - model: each call of it reads another tensor from outside of the model; copy_() the numbers "
          "into one tensor, or put them in the batch");
    refuse_unsteady(next.text, call.text);
  }
}

}  // namespace

Call call_training(kernels::Device& device, const TrainingModel& model,
                   std::span<const graph::TensorType> types, Precision precision, Form form,
                   const std::string& known) {
  const auto record = [&] { return record_training(device, model, types, precision, form); };
  return settled(record, model.loss, true, known);
}

Call call_forward(kernels::Device& device, const torch::nn::Module& module,
                  const std::function<at::Tensor(const Batch&)>& function,
                  std::span<const graph::TensorType> types, Precision precision, Form form,
                  const std::string& known) {
  const auto record = [&] { return record_forward(device, module, function, types, precision, form); };
  return settled(record, function, false, known);
}

graph::Graph capture_training(kernels::Device& device, const TrainingModel& model,
                              std::span<const graph::TensorType> types, Precision precision, Form form) {
  return call_training(device, model, types, precision, form).graph;
}

graph::Graph capture_forward(kernels::Device& device, const torch::nn::Module& module,
                             const std::function<at::Tensor(const Batch&)>& function,
                             std::span<const graph::TensorType> types, Precision precision, Form form) {
  return call_forward(device, module, function, types, precision, form).graph;
}

}  // namespace shoal::capture

namespace shoal::detail {

std::shared_ptr<const Initialisation> record_initialisation(
    const std::function<std::shared_ptr<torch::nn::Module>()>& construct) {
  capture::Recording recording(capture::RecordingOf::kConstructor, kernels::cpu());
  std::shared_ptr<torch::nn::Module> module;
  capture::run_model(recording, [&] { module = construct(); });
  if (!module) throw InputError("describe - construct: it returned an empty module holder");
  std::vector<graph::ValueId> results;
  for (const capture::NamedTensor& named : capture::named_tensors(*module).all())
    results.push_back(recording.value_of(named.tensor));
  recording.leave();
  auto initialisation = std::make_shared<Initialisation>();
  initialisation->graph = std::move(recording.graph());
  initialisation->graph.results = std::move(results);
  graph::verify(initialisation->graph, "of an initialisation, as recorded");
  return initialisation;
}

}  // namespace shoal::detail
