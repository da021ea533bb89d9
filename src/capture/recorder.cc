#include "capture/recorder.h"

#include <ATen/ExpandUtils.h>
#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/SequenceNumber.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/equal.h>
#include <torch/csrc/autograd/function.h>
#include <torch/library.h>

#include <deque>
#include <limits>

#include "base/text.h"
#include "capture/batch_norm.h"
#include "capture/ghost.h"
#include "capture/host_reads.h"
#include "capture/random_operators.h"
#include "capture/recurrent.h"
#include "graph/ivalue.h"
#include "graph/operator.h"
#include "kernels/cpu/host.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

using torch::jit::Stack;

Recording* recording = nullptr;  // boxed kernels have no other way to know whom they serve; one at a time

Recording& active_recording(const c10::OperatorHandle& op) {
  if (recording == nullptr)
    throw InputError(cat("operator ", graph::operator_text(op.operator_name()),
                         " - outside of capture: it was given a tensor that has no numbers, of a described "
                         "model (pass that to a Trainer) or kept by the model from a call that was captured"));
  return *recording;
}

void record_boxed(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  active_recording(op).record(op, stack);
}

// Autograd numbers the calls of forward, and knows in backward whose turn it is.
int64_t call_of(graph::Phase phase) {
  if (phase == graph::Phase::kForward) return static_cast<int64_t>(at::sequence_number::peek());
  const auto now = torch::autograd::get_current_node();
  const bool is_numbered = now && now->sequence_nr() < static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  return is_numbered ? static_cast<int64_t>(now->sequence_nr()) + 1 : 0;
}

bool is_host(const c10::IValue& value) { return value.isDevice() && value.toDevice().type() == kernels::kHost; }

// Whether a factory's argument says that its tensor is on the host.
bool names_host(const c10::OperatorHandle& op, const Stack& stack) {
  const auto& arguments = op.schema().arguments();
  const size_t first = stack.size() - arguments.size();
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (stack[first + i].isTensor()) return false;
    if (arguments[i].name() == "device" && stack[first + i].isDevice()) return is_host(stack[first + i]);
  }
  return false;
}

bool is_empty(const c10::OperatorHandle& op) { return op.schema().name().starts_with("aten::empty"); }

// LibTorch's readers give a tensor a storage, and then change its sizes where no operator shows it.
void refuse_files(const c10::OperatorHandle& op, const Stack& stack, size_t first) {
  if (op.schema().name() == "aten::set_" && stack.size() > first + 1 && stack[first + 1].isStorage())
    throw InputError(
        "capture - torch::load: it reads numbers where tensors have none, in a constructor that is described "
        "or in forward; read the file before and copy_() its tensors here, or build the model instead of "
        "describing it");
}

void register_operators(c10::Device eager) {
  static std::deque<c10::RegistrationHandleRAII> registrations;  // kept for the life of the process
  const c10::DispatchKey key = c10::computeDispatchKey(std::nullopt, std::nullopt, eager);
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findOp(name);
    if (!op || !op->hasSchema()) continue;
    // Composites come apart into others, except where the device has a kernel of its own (silu_backward): eager
    // takes that one.
    const bool has_kernel = op->hasKernelForDispatchKey(key);
    if (op->hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd) && !has_kernel) continue;
    if (op->hasKernelForDispatchKey(c10::DispatchKey::PrivateUse1)) continue;
    if (name.getNamespace() != std::string_view("aten") && !has_kernel) continue;
    registrations.push_back(dispatcher.registerImpl(
        name, c10::DispatchKey::PrivateUse1, c10::KernelFunction::makeFromBoxedFunction<&record_boxed>(),
        std::nullopt, nullptr, "shoal capture"));
  }
}

// A tensor of the same type on another device: without numbers on Meta, else zeros.
at::Tensor stand_in(const at::Tensor& t, c10::Device device) {
  at::Tensor other =
      at::empty_strided(t.sizes(), t.strides(), t.options().device(device).requires_grad(false));
  if (!device.is_meta()) other.zero_();
  if (t.unsafeGetTensorImpl()->is_wrapped_number()) other.unsafeGetTensorImpl()->set_wrapped_number(true);
  return other;
}

c10::IValue move_to(const c10::IValue& value, c10::Device device) {
  if (value.isDevice()) return device;
  return map_tensors(value, [&](const at::Tensor& t) { return stand_in(t, device); });
}

// Runs the operator on Meta tensors: the stack's arguments become its results. Where LibTorch has no shape
// function and we have no row, the operator itself runs once on zeros; not where the size of its result
// depends on the numbers.
void infer_results(const c10::OperatorHandle& op, const std::string& name, Stack& stack,
                   kernels::Device& device) {
  if (device.infer_shapes(name, stack)) return;
  const Stack arguments = stack;
  try {
    op.callBoxed(stack);
    return;
  } catch (const c10::NotImplementedError&) {
  }
  if (op.hasTag(at::Tag::dynamic_output_shape)) refuse_data_dependent(name);
  stack.clear();
  for (const c10::IValue& argument : arguments) stack.push_back(move_to(argument, device.torch_device()));
  try {
    op.callBoxed(stack);
  } catch (const std::exception& error) {
    const std::string_view why = error.what();  // of which the first sentence says it
    throw InputError(cat("capture - operator ", name, ": it cannot be captured yet (",
                         why.substr(0, std::min(why.find('\n'), why.find(". "))), ")"));
  }
  for (c10::IValue& result : stack) result = move_to(result, at::kMeta);
}

}  // namespace

Recording::Recording(RecordingOf what, kernels::Device& device)
    : device_(device),
      what_(what),
      origin_(std::make_shared<Origin>(what == RecordingOf::kConstructor)) {
  register_ghost_device();
  register_operators(device.torch_device());
  register_batch_norm();
  register_recurrent();
  recording = this;
}

Recording::~Recording() { recording = nullptr; }

Recording* Recording::active() { return recording; }

Recording::Scope::Scope()
    : reapply_views_before_(at::functionalization::impl::getFunctionalizationReapplyViewsTLS()),
      functionalize_(c10::DispatchKey::Functionalize) {
  // With view_copy operators instead, strides would change, and with them bits and what `view` accepts.
  at::functionalization::impl::setFunctionalizationReapplyViewsTLS(true);
}

Recording::Scope::~Scope() {
  at::functionalization::impl::setFunctionalizationReapplyViewsTLS(reapply_views_before_);
}

at::Tensor Recording::add_input(graph::InputKind kind, const std::string& name,
                                const graph::TensorType& type) {
  const graph::ValueId id = graph_.add_value(type);
  graph_.inputs.push_back({kind, name, id});
  known_values_.add_input(graph_.inputs.back());
  return wrap(new_ghost(type, id));
}

at::Tensor Recording::add_twin(graph::InputKind kind, const std::string& name, const at::Tensor& original,
                               const graph::TensorType& type) {
  at::Tensor twin = add_input(kind, name, type);
  if (original.requires_grad()) twin.requires_grad_();
  substitute(cat(kind == graph::InputKind::kParameter ? "parameter " : "buffer ", name), original, twin);
  hosts_.add_own(original);
  return twin;
}

void Recording::add_constant(graph::ValueId id, const at::Tensor& numbers) {
  graph_.inputs.push_back({graph::InputKind::kConstant, cat("c", graph_.constants.size()), id});
  known_values_.add_input(graph_.inputs.back());
  at::Tensor copy = numbers.detach().clone();
  if (numbers.unsafeGetTensorImpl()->is_wrapped_number())
    copy.unsafeGetTensorImpl()->set_wrapped_number(true);
  graph_.constants.emplace(id, std::move(copy));
}

at::Tensor Recording::new_ghost(const graph::TensorType& type, graph::ValueId id) {
  return kept_.emplace_back(make_ghost(type, id, origin_));
}

void Recording::keep_sizes(const Stack& stack, size_t first) {
  for (size_t i = first; i < stack.size(); ++i) {
    if (!stack[i].isTensor() || !at::functionalization::impl::isFunctionalTensor(stack[i].toTensor())) continue;
    const at::Tensor value = at::functionalization::impl::from_functional_tensor(stack[i].toTensor());
    if (!is_ghost(value)) kept_.push_back(value);
  }
}

graph::ValueId Recording::value_of(const at::Tensor& tensor) {
  const at::Tensor plain = unwrap(tensor);
  if (is_ghost(plain)) {
    if (ghost_origin(plain) != origin_)
      throw InputError(cat("capture - tensor [", join(plain.sizes(), ","),
                           "]: it was made by another call of forward, or by a constructor, and has no "
                           "numbers here; compute it in forward"));
    return ghost_id(plain);
  }
  // The same tensor is the same constant, as long as nobody wrote to it.
  const auto found = constants_.find(plain.unsafeGetTensorImpl());
  if (found != constants_.end() && at::equal(graph_.constants.at(found->second), plain)) return found->second;
  const graph::ValueId id = graph_.add_value(graph::type_of(plain));
  add_constant(id, plain);
  constants_[plain.unsafeGetTensorImpl()] = id;
  constant_owners_.push_back(plain);
  return id;
}

at::Tensor Recording::ghost_of_constant(const at::Tensor& numbers) {
  const graph::TensorType type = graph::type_of(numbers);
  const graph::ValueId id = graph_.add_value(type);
  add_constant(id, numbers);
  return new_ghost(type, id);
}

c10::IValue Recording::result_of(const c10::IValue& meta, graph::Node& node) {
  const auto make = [&](const at::Tensor& m) -> at::Tensor {
    if (!m.defined()) {
      node.results.push_back(graph::kNoValue);
      return {};
    }
    const graph::TensorType type = graph::type_of(m);
    node.results.push_back(graph_.add_value(type));
    return new_ghost(type, node.results.back());
  };
  if (meta.isTensor()) return make(meta.toTensor());
  if (meta.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& m : meta.toTensorList()) list.push_back(make(m));
    return list;
  }
  node.results.push_back(graph::kNoValue);
  return meta;
}

void Recording::record(const c10::OperatorHandle& op, Stack* stack) {
  const std::string name = graph::operator_text(op.operator_name());
  c10::impl::ExcludeDispatchKeyGuard below_autograd(c10::autograd_dispatch_keyset_with_ADInplaceOrView);
  const auto& schema = op.schema();
  drop_unread_statistics(name, *stack);
  if (answer_on_host(op, name, *stack)) return;
  const auto arguments = torch::jit::last(*stack, schema.arguments().size());
  if (schema.is_mutable())
    throw InputError(cat("capture - operator ", name,
                         ": it changes its input and LibTorch has no functional form of it; use the form "
                         "that returns a new tensor"));

  graph::Node node;
  node.op = name;
  node.phase = phase_;
  node.call = call_of(phase_);
  if (is_random(op)) node.random = num_random_++;
  Stack metas;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& argument = arguments[i];
    const bool is_generator = schema.arguments()[i].type()->str().find("Generator") != std::string::npos;
    node.arguments.push_back(is_generator
                                 ? graph::Argument(graph::None{})
                                 : graph::from_ivalue(argument, schema.arguments()[i].type(),
                                                      [&](const at::Tensor& t) { return value_of(t); }));
    metas.push_back(is_generator ? c10::IValue() : move_to(argument, at::kMeta));
  }
  if (!infer_from_known_mask(name, arguments, metas)) infer_results(op, name, metas, device_);
  torch::jit::drop(*stack, schema.arguments().size());
  for (const c10::IValue& meta : metas) stack->push_back(result_of(meta, node));
  graph_.nodes.push_back(std::move(node));
  known_values_.add_node(graph_.nodes.size() - 1);
}

void Recording::call(const c10::OperatorHandle& op, Stack* stack) {
  if (what_ != RecordingOf::kForward || phase_ != graph::Phase::kForward) return Interception::call(op, stack);
  trace_->begin(op, torch::jit::last(*stack, op.schema().arguments().size()), [this](const at::Tensor& tensor) {
    return twins_.contains(tensor.unsafeGetTensorImpl()) || shared_.contains(tensor) || hosts_.is_live(tensor);
  });
  // Memory that the host writes to is no wrapper's.
  const bool is_host_memory = is_empty(op) && names_host(op, *stack);
  const c10::impl::ExcludeDispatchKeyGuard plain(is_host_memory ? c10::DispatchKeySet(c10::DispatchKey::Functionalize)
                                                                : c10::DispatchKeySet());
  Interception::call(op, stack);
  trace_->end(torch::jit::last(*stack, op.schema().returns().size()));
}

at::Tensor Recording::resolve(const at::Tensor& tensor, bool is_written) {
  return what_ == RecordingOf::kConstructor ? Interception::resolve(tensor, is_written)
                                            : hosts_.resolve(tensor, is_written);
}

void Recording::settle(const c10::OperatorHandle& op, Stack& stack, size_t first) {
  const auto& arguments = op.schema().arguments();
  const auto is_written = [&](size_t i) {
    return arguments[i].alias_info() != nullptr && arguments[i].alias_info()->isWrite();
  };
  const bool forward = what_ == RecordingOf::kForward;
  refuse_files(op, stack, first);
  keep_sizes(stack, first);
  if (is_random(op)) {
    record_draws(op, stack, {[&](const at::Tensor& tensor) { return wrap(ghost_of_constant(tensor)); },
                             [&](const at::Tensor& tensor) { return hosts_.promote(tensor); }});
  }
  bool has_tensors = false, has_ghosts = false;
  for (size_t i = 0; i < arguments.size(); ++i)
    for_each_tensor(stack[first + i], [&](const at::Tensor& tensor) {
      has_tensors = true;
      has_ghosts |= ghost_beneath(tensor).defined();
    });
  // A factory makes a ghost, also where it names the host, which is the device of all else. empty() alone stays
  // real there: its numbers come from the host (torch::tensor of a vector).
  if (!has_tensors) {
    for (size_t i = 0; i < arguments.size(); ++i) {
      c10::IValue& argument = stack[first + i];
      if (arguments[i].name() != "device") continue;
      if (argument.isNone() || (is_host(argument) && forward && !is_empty(op)))
        argument = c10::Device(kGhostDevice, 0);
    }
    return;
  }
  if (!forward) return;
  // What the call made on the host, and now takes values, is a value of the graph, too.
  for (size_t i = 0; i < arguments.size(); ++i)
    if (has_ghosts && is_written(i))
      stack[first + i] = map_tensors(stack[first + i], [&](const at::Tensor& tensor) {
        const bool follows = at::functionalization::impl::isFunctionalTensor(tensor);
        return hosts_.is_made(tensor) && !follows ? hosts_.promote(tensor) : tensor;
      });
  // Externals compute in bf16 as the module's own tensors do; which of them belong to batch norms, which stay
  // fp32, shows when one reads them.
  if (!bf16_) return;
  const std::string name = graph::operator_text(op.operator_name());
  if (is_loss(name) || name.find("batch_norm") != std::string::npos) return;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (!is_written(i))
      stack[first + i] = map_tensors(stack[first + i], [&](const at::Tensor& tensor) {
        const bool narrows = tensor.scalar_type() == at::kFloat && hosts_.is_external(tensor);
        return narrows ? tensor.to(at::kBFloat16) : tensor;
      });
}

void Recording::note_results(const Stack& stack, size_t count) {
  if (what_ == RecordingOf::kConstructor) return;
  for (size_t i = stack.size() - count; i < stack.size(); ++i)
    for_each_tensor(stack[i], [&](const at::Tensor& tensor) { hosts_.note_made(tensor); });
}

}  // namespace shoal::capture
