#include "capture/recorder.h"

#include <ATen/ExpandUtils.h>
#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_strided.h>
#include <c10/core/AutogradState.h>
#include <torch/library.h>

#include <atomic>
#include <deque>

#include "base/text.h"
#include "capture/batch_norm.h"
#include "capture/ghost.h"
#include "capture/random_operators.h"
#include "capture/recurrent.h"
#include "capture/shape_rules.h"
#include "graph/ivalue.h"
#include "graph/operator.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

using torch::jit::Stack;

// Boxed kernels have no other way to know whom they serve; guarded by one_interception.
std::mutex one_interception;
Interception* interception = nullptr;
Recording* recording = nullptr;

Recording& active_recording(const c10::OperatorHandle& op) {
  if (recording == nullptr)
    throw InputError(cat("operator ", graph::operator_text(op.operator_name()),
                         " - outside of capture: it was given a tensor of a described model, which has no "
                         "numbers; pass the model to a Trainer, and read them with its parameter(name)"));
  return *recording;
}

void record_boxed(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  active_recording(op).record(op, stack);
}

// LibTorch's readers give a tensor a storage, and then change its sizes where no operator shows it.
void refuse_files(const c10::OperatorHandle& op, const Stack& stack) {
  const size_t count = op.schema().arguments().size();
  if (op.schema().name() == "aten::set_" && torch::jit::peek(stack, 1, count).isStorage())
    throw InputError(
        "capture - torch::load: it reads numbers where tensors have none, in a constructor that is described "
        "or in forward; read the file before and copy_() its tensors here, or build the model instead of "
        "describing it");
}

void rewrite_boxed(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::DeferredInit);
  if (at::autocast::is_autocast_enabled(at::kCPU))
    throw InputError(
        "capture - autocast: it is switched on in forward and would have no effect here; use "
        "Precision::kBF16 instead");
  if (recording != nullptr) {
    refuse_files(op, *stack);
    recording->keep_sizes(op, *stack);
  }
  if (interception != nullptr) interception->rewrite_arguments(op, stack);
  op.callBoxed(stack);
}

// Operators of the model's values, not of their numbers, that C++ code of a model may ask for.
void check_allowed(const std::string& name) {
  static constexpr std::pair<const char*, const char*> kRefused[] = {
      {"aten::_local_scalar_dense",
       "it reads a number (item(), a condition on a tensor, printing): keep it a tensor, for example "
       "torch::where instead of if"},
      {"aten::nonzero", "its result's size depends on the data: use a mask (torch::where, masked_fill)"},
      {"aten::masked_select", "its result's size depends on the data: use torch::where or masked_fill"},
      {"aten::_unique2", "its result's size depends on the data"},
      {"aten::bincount", "its result's size depends on the data"},
  };
  for (const auto& [op, why] : kRefused)
    if (name == op) throw InputError(cat("capture - operator ", name, ": ", why));
}

void register_operators() {
  static std::deque<c10::RegistrationHandleRAII> registrations;  // kept for the life of the process
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findOp(name);
    if (!op || !op->hasSchema()) continue;
    // Composites come apart into others, except where the CPU has a kernel of its own (silu_backward): eager
    // takes that one.
    const bool has_cpu_kernel = op->hasKernelForDispatchKey(c10::DispatchKey::CPU);
    if (op->hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd) && !has_cpu_kernel) continue;
    if (op->hasKernelForDispatchKey(c10::DispatchKey::PrivateUse1)) continue;
    if (name.getNamespace() != std::string_view("aten") && !has_cpu_kernel) continue;
    registrations.push_back(dispatcher.registerImpl(
        name, c10::DispatchKey::PrivateUse1, c10::KernelFunction::makeFromBoxedFunction<&record_boxed>(),
        std::nullopt, nullptr, "shoal capture"));
  }
}

// The value with every tensor in it replaced by f(tensor); undefined and absent tensors stay.
template <class F>
c10::IValue map_tensors(const c10::IValue& value, F&& f) {
  if (value.isTensor()) return value.toTensor().defined() ? c10::IValue(f(value.toTensor())) : value;
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& t : value.toTensorList()) list.push_back(f(t));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& t : value.toOptionalTensorList())
      list.push_back(t && t->defined() ? std::optional(f(*t)) : std::nullopt);
    return list;
  }
  return value;
}

// A tensor of the same type on another device: without numbers on Meta, zeros on the CPU.
at::Tensor stand_in(const at::Tensor& t, c10::Device device) {
  at::Tensor other =
      at::empty_strided(t.sizes(), t.strides(), t.options().device(device).requires_grad(false));
  if (device.is_cpu()) other.zero_();
  if (t.unsafeGetTensorImpl()->is_wrapped_number()) other.unsafeGetTensorImpl()->set_wrapped_number(true);
  return other;
}

c10::IValue move_to(const c10::IValue& value, c10::Device device) {
  if (value.isDevice()) return device;
  return map_tensors(value, [&](const at::Tensor& t) { return stand_in(t, device); });
}

// Runs the operator on Meta tensors: the stack's arguments become its results. Where LibTorch has no shape
// function and we have no row, the operator itself runs once on zeros.
void infer_results(const c10::OperatorHandle& op, const std::string& name, Stack& stack) {
  if (apply_shape_rule(name, stack)) return;
  const Stack arguments = stack;
  try {
    op.callBoxed(stack);
    return;
  } catch (const c10::NotImplementedError&) {
  }
  stack.clear();
  for (const c10::IValue& argument : arguments) stack.push_back(move_to(argument, at::kCPU));
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

// Functionalization asks Meta about in-place operators, too, and LibTorch has no Meta kernel for these.
at::Tensor& take_shape(at::Tensor& out, const at::Tensor& of) {
  out.resize_(of.sizes());
  out.as_strided_(of.sizes(), of.strides());
  return out;
}
at::Tensor& logical_meta(const at::Tensor& a, const at::Tensor& b, at::Tensor& out) {
  return take_shape(out, pointwise_result({a, b}, at::kBool));
}
at::Tensor& logical_not_meta(const at::Tensor& a, at::Tensor& out) {
  return take_shape(out, pointwise_result({a}, at::kBool));
}
TORCH_LIBRARY_IMPL(aten, Meta, library) {
  for (const char* name : {"logical_and.out", "logical_or.out", "logical_xor.out"})
    library.impl(name, &logical_meta);
  library.impl("logical_not.out", &logical_not_meta);
}

TORCH_LIBRARY_IMPL(_, DeferredInit, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&rewrite_boxed>());
}

Interception::Interception(c10::Device factory_device)
    : only_one_(one_interception), factory_device_(factory_device) {
  interception = this;
}

Interception::~Interception() { interception = nullptr; }

void Interception::substitute(const at::Tensor& original, const at::Tensor& twin) {
  twins_[original.unsafeGetTensorImpl()] = twin;
}

uint64_t next_number() {
  static std::atomic<uint64_t> count{0};
  return ++count;
}

Recording::Recording() : Interception({kGhostDevice, 0}), number_(next_number()) {
  register_ghost_device();
  register_operators();
  register_batch_norm();
  register_recurrent();
  recording = this;
}

Recording::~Recording() { recording = nullptr; }

const Recording* Recording::active() { return recording; }

Recording::Scope::Scope()
    : reapply_views_before_(at::functionalization::impl::getFunctionalizationReapplyViewsTLS()),
      multithreading_before_(c10::AutogradState::get_tls_state().get_multithreading_enabled()),
      functionalize_(c10::DispatchKey::Functionalize) {
  // With view_copy operators instead, strides would change, and with them bits and what `view` accepts.
  at::functionalization::impl::setFunctionalizationReapplyViewsTLS(true);
  // The engine would give ghosts a thread of their own. It runs what is ready by the order in which threads
  // made it, and two threads count apart: with create_graph, the order would depend on earlier captures.
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
}

Recording::Scope::~Scope() {
  c10::AutogradState::get_tls_state().set_multithreading_enabled(multithreading_before_);
  at::functionalization::impl::setFunctionalizationReapplyViewsTLS(reapply_views_before_);
}

at::Tensor Recording::add_input(graph::InputKind kind, const std::string& name,
                                const graph::TensorType& type) {
  const graph::ValueId id = graph_.add_value(type);
  graph_.inputs.push_back({kind, name, id});
  return wrap(new_ghost(type, id));
}

void Recording::keep_sizes(const c10::OperatorHandle& op, const Stack& stack) {
  for (const c10::IValue& argument : torch::jit::last(stack, op.schema().arguments().size())) {
    if (!argument.isTensor() || !at::functionalization::impl::isFunctionalTensor(argument.toTensor())) continue;
    const at::Tensor value = at::functionalization::impl::from_functional_tensor(argument.toTensor());
    if (!is_ghost(value)) kept_.push_back(value);
  }
}

at::Tensor Recording::new_ghost(const graph::TensorType& type, graph::ValueId id) {
  return kept_.emplace_back(make_ghost(type, id, number_));
}

graph::ValueId Recording::value_of(const at::Tensor& tensor) {
  const at::Tensor plain = unwrap(tensor);
  if (is_ghost(plain)) {
    if (ghost_recording(plain) != number_)
      throw InputError(cat("capture - tensor [", join(plain.sizes(), ","),
                           "]: it was made by the constructor of a described model, which kept it without "
                           "registering it; use register_buffer"));
    return ghost_id(plain);
  }
  const auto found = constants_.find(plain.unsafeGetTensorImpl());
  if (found != constants_.end()) return found->second;
  const graph::ValueId id = graph_.add_value(graph::type_of(plain));
  graph_.inputs.push_back({graph::InputKind::kConstant, cat("c", graph_.constants.size()), id});
  at::Tensor copy = plain.detach().clone();
  if (plain.unsafeGetTensorImpl()->is_wrapped_number()) copy.unsafeGetTensorImpl()->set_wrapped_number(true);
  graph_.constants.emplace(id, std::move(copy));
  constants_.emplace(plain.unsafeGetTensorImpl(), id);
  constant_owners_.push_back(plain);
  return id;
}

at::Tensor Recording::ghost_of(const at::Tensor& tensor) {
  return wrap(make_ghost(graph::type_of(tensor), value_of(tensor), number_));
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
  const auto arguments = torch::jit::last(*stack, schema.arguments().size());
  if (name == "aten::equal") {  // MultiheadAttention asks whether key and value are the same tensor
    const bool same = value_of(arguments[0].toTensor()) == value_of(arguments[1].toTensor());
    torch::jit::drop(*stack, schema.arguments().size());
    stack->push_back(same);
    return;
  }
  check_allowed(name);
  if (schema.is_mutable())
    throw InputError(cat("capture - operator ", name,
                         ": it changes its input and LibTorch has no functional form of it; use the form "
                         "that returns a new tensor"));

  graph::Node node;
  node.op = name;
  node.phase = phase_;
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
  infer_results(op, name, metas);
  torch::jit::drop(*stack, schema.arguments().size());
  for (const c10::IValue& meta : metas) stack->push_back(result_of(meta, node));
  graph_.nodes.push_back(std::move(node));
}

namespace {

// Losses that autocast computes in fp32 too.
bool is_loss(const std::string& name) {
  static constexpr const char* kLosses[] = {"aten::cross_entropy_loss",
                                            "aten::log_softmax.int",
                                            "aten::nll_loss_nd",
                                            "aten::nll_loss",
                                            "aten::nll_loss2d",
                                            "aten::mse_loss",
                                            "aten::l1_loss",
                                            "aten::smooth_l1_loss",
                                            "aten::huber_loss",
                                            "aten::kl_div",
                                            "aten::binary_cross_entropy",
                                            "aten::binary_cross_entropy_with_logits",
                                            "aten::soft_margin_loss",
                                            "aten::multi_margin_loss",
                                            "aten::cosine_embedding_loss",
                                            "aten::hinge_embedding_loss",
                                            "aten::margin_ranking_loss",
                                            "aten::poisson_nll_loss"};
  return std::any_of(std::begin(kLosses), std::end(kLosses), [&](const char* loss) { return name == loss; });
}

}  // namespace

void Interception::rewrite_arguments(const c10::OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const auto arguments = torch::jit::last(*stack, schema.arguments().size());
  const size_t first = stack->size() - arguments.size();
  const bool widen = fp32_losses_ && is_loss(graph::operator_text(op.operator_name()));
  const auto rewritten = [&](const at::Tensor& tensor) -> at::Tensor {
    const auto twin = twins_.find(tensor.unsafeGetTensorImpl());
    const at::Tensor& result = twin == twins_.end() ? tensor : twin->second;
    return widen && result.scalar_type() == at::kBFloat16 ? result.to(at::kFloat) : result;
  };
  bool reads_tensors = false;
  for (size_t i = first; i < stack->size(); ++i)
    (*stack)[i] = map_tensors((*stack)[i], [&](const at::Tensor& tensor) {
      reads_tensors = true;
      return rewritten(tensor);
    });
  if (factory_device_.type() == kGhostDevice && is_random(op))
    record_draws(op, stack, [&](const at::Tensor& tensor) { return ghost_of(tensor); });
  // A factory that names no device makes a ghost; an explicit CPU device stays real and becomes a constant.
  if (reads_tensors) return;
  for (size_t i = 0; i < schema.arguments().size(); ++i)
    if (schema.arguments()[i].name() == "device" && (*stack)[first + i].isNone())
      (*stack)[first + i] = factory_device_;
}

}  // namespace shoal::capture
