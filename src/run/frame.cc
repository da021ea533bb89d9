#include "run/frame.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "graph/ivalue.h"
#include "lower/local_graph.h"
#include "lower/stage_graph.h"
#include "run/out_of_memory.h"

namespace shoal::run {

using graph::kNoValue;
using graph::ValueId;

namespace {

std::string place_of(const graph::Node& node) {
  return cat("operator ", node.op, node.scope.empty() ? "" : " of ", node.scope);
}

}  // namespace

Frame::Frame(CompiledGraph& compiled)
    : compiled_(compiled),
      graph_(compiled.graph()),
      values_(compiled.graph().values.size()),
      own_(std::make_unique<FrameMemory>(compiled.device())),
      memory_(*own_) {}

Frame::Frame(CompiledGraph& compiled, FrameMemory& shared)
    : compiled_(compiled), graph_(compiled.graph()), values_(compiled.graph().values.size()), memory_(shared) {}

void Frame::begin(const Start& start) {
  if (start.inputs.size() != graph_.inputs.size())
    throw JobError(cat("frame - inputs: got ", start.inputs.size(), ", want ", graph_.inputs.size()));
  end();
  if (own_) memory_.begin();
  is_whole_ = false;
  for (size_t i = 0; i < graph_.inputs.size(); ++i) {
    const graph::Input& input = graph_.inputs[i];
    at::Tensor value = start.inputs[i];
    if (!value.defined())
      for (const auto* held : {&graph_.constants, &graph_.externals})
        if (const auto data = held->find(input.value); data != held->end()) value = data->second;
    if (!value.defined() && compiled_.input_is_read_[i])
      throw JobError(cat("frame - input ", input.name, ": it has no value"));
    if (value.defined()) memory_.add_foreign(value);
    values_[static_cast<size_t>(input.value)] = std::move(value);
  }
  random_ = start.random;
  sequential_random_ = start.sequential_random;
  inputs_delivered_ = false;
}

void Frame::end() {
  undelivered_.clear();
  for (at::Tensor& value : values_) {
    if (value.defined()) memory_.remove(value);
    value = at::Tensor();
  }
  if (own_) memory_.end(is_whole_);
}

void Frame::run_all(const Start& start, const Sink& sink, const Arena::Placement& placement) {
  begin(start);
  struct End {
    Frame& frame;
    ~End() { frame.end(); }
  } const at_last{*this};
  run({0, std::ssize(graph_.nodes)}, sink, placement);
}

void Frame::run(Range nodes, const Sink& sink, const Arena::Placement& placement) {
  const c10::InferenceMode no_autograd;
  if (!std::exchange(inputs_delivered_, true))
    for (const auto& [input, index] : compiled_.input_outputs_) deliver(value(graph_.inputs[input].value), index, sink);
  for (const auto& [tensor, index] : std::exchange(undelivered_, {})) deliver(tensor, index, sink);
  const Arena::Scope scope = memory_.scope(placement);
  for (int64_t n = nodes.begin; n < nodes.end; ++n) {
    const Step& step = compiled_.steps_[static_cast<size_t>(n)];
    const auto start =
        compiled_.profiling_ ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
    try {
      execute(step);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      if (is_out_of_memory(error))
        throw JobError(cat("memory - ", place_of(*step.node),
                           ": this device has no room for its result; use smaller microbatches (more of them), or "
                           "more devices with tp or zero=3"));
      const std::string reason = error.what();
      throw OperatorFailed(cat(place_of(*step.node), " - failed: ", reason.substr(0, reason.find('\n'))));
    }
    if (compiled_.profiling_)
      compiled_.seconds_[step.node->op] +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const auto& [id, index] : step.outputs) deliver(value(id), index, sink);
    for (const ValueId id : step.last_uses) drop(id);
  }
  note_progress(nodes.end);
}

void Frame::note_progress(int64_t end) {
  if (end < std::ssize(graph_.nodes)) return;
  compiled_.types_checked_ = true;
  is_whole_ = true;
}

void Frame::drop(ValueId id) {
  at::Tensor& tensor = values_[static_cast<size_t>(id)];
  if (tensor.defined()) memory_.remove(tensor);
  tensor = at::Tensor();
}

void Frame::set(ValueId id, at::Tensor tensor) {
  memory_.add(tensor);
  values_[static_cast<size_t>(id)] = std::move(tensor);
}

std::vector<at::Tensor> Frame::arguments(size_t n) const {
  std::vector<at::Tensor> tensors;
  graph::for_each_input(graph_.nodes[n], [&](ValueId id) { tensors.push_back(value(id)); });
  return tensors;
}

void Frame::define(size_t n, std::span<const at::Tensor> results) {
  const graph::Node& node = graph_.nodes[n];
  const bool are_peers = lower::is_exchange(node) || lower::is_receive(node);  // they lie in the peers' memory
  for (size_t i = 0; i < node.results.size(); ++i) {
    if (node.results[i] == kNoValue) continue;
    if (!are_peers) {
      set(node.results[i], results[i]);
      continue;
    }
    memory_.add_foreign(results[i]);
    values_[static_cast<size_t>(node.results[i])] = results[i];
  }
  for (const auto& [id, index] : compiled_.steps_[n].outputs) undelivered_.emplace_back(value(id), index);
  for (const ValueId id : compiled_.steps_[n].last_uses) drop(id);
  note_progress(static_cast<int64_t>(n) + 1);
}

void Frame::deliver(const at::Tensor& tensor, int index, const Sink& sink) {
  if (tensor.is_contiguous() && tensor.storage_offset() == 0 && tensor.nbytes() == tensor.storage().nbytes())
    memory_.arena().mark_output(tensor.const_data_ptr(), tensor.nbytes(), index);
  const Arena::Pause pause(compiled_.device());
  sink(index, tensor);
}

void Frame::execute(const Step& step) {
  torch::jit::Stack stack = step.arguments;
  const auto tensor_of = [&](ValueId id) {
    const at::Tensor& tensor = value(id);
    if (!tensor.defined())
      throw JobError(cat(place_of(*step.node), " - value %", id, ": it is not there; this is a defect"));
    return tensor;
  };
  const c10::Device place = compiled_.device().torch_device();
  for (const size_t i : step.tensor_arguments)
    stack[i] = graph::to_ivalue(step.node->arguments[i], tensor_of, place);

  if (step.kernel != nullptr && !(step.draws && sequential_random_)) {
    step.kernel(stack, {random_, step.node->random});
  } else if (step.node->random >= 0 && !sequential_random_) {
    throw InputError(cat(place_of(*step.node),
                         " - random: it cannot be drawn by counter, and drawn otherwise it would depend on "
                         "the layout; make its numbers of those of rand, randn and other random operators "
                         "(docs/numerics.md, \"Random numbers\")"));
  } else {
    step.op->callBoxed(stack);
  }

  graph::for_each_result(*step.node, stack, [&](ValueId id, const at::Tensor& tensor) {
    if (!compiled_.types_checked_) {
      const graph::TensorType got = graph::type_of(tensor);
      const graph::TensorType& want = graph_.type(id);
      if (got.dtype != want.dtype || got.shape != want.shape)
        throw JobError(cat(place_of(*step.node), " - result: got ", graph::print(got), ", capture predicted ",
                           graph::print(want),
                           "; compute it by other operators (whoever adds operators to Shoal: its row in "
                           "src/kernels/cpu/shape_rules.cc is wrong)"));
      // How a part lies in memory is not predicted.
      if (step.node->part == graph::kWhole && got != want) compiled_.restrided_.insert(id);
    }
    const bool moves = !compiled_.restrided_.empty() && compiled_.restrided_.contains(id);
    set(id, moves ? compiled_.device().restride(tensor, graph_.type(id).strides) : tensor);
  });
}

}  // namespace shoal::run
