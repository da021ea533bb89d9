#include "run/executor.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <chrono>

#include "base/text.h"
#include "graph/ivalue.h"
#include "graph/operator.h"
#include "lower/gather_plan.h"
#include "run/out_of_memory.h"
#include "run/parts.h"
#include "run/random_kernels.h"
#include "shoal/error.h"

namespace shoal::run {

using graph::kNoValue;
using graph::ValueId;

namespace {

std::string place_of(const graph::Node& node) {
  return cat("operator ", node.op, node.scope.empty() ? "" : " of ", node.scope);
}

}  // namespace

Executor::Executor(const graph::Graph& graph, bool gathers) : graph_(graph), values_(graph.values.size()) {
  std::map<ValueId, std::vector<int>> outputs;
  const auto all = graph::outputs(graph);
  for (size_t i = 0; i < all.size(); ++i) outputs[all[i]].push_back(static_cast<int>(i));
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    for (int index : outputs[graph.inputs[i].value]) input_outputs_.emplace_back(i, index);

  std::vector<size_t> last_use(graph.values.size(), 0);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const graph::Node& node = graph.nodes[i];
    for (ValueId id : node.results)
      if (id != kNoValue) last_use[static_cast<size_t>(id)] = i;
    graph::for_each_input(node, [&](ValueId id) { last_use[static_cast<size_t>(id)] = i; });
  }
  const auto no_tensor = [](ValueId) { return at::Tensor(); };
  for (const graph::Node& node : graph.nodes) {
    Step step{};
    step.node = &node;
    step.op = graph::operator_handle(node.op);
    step.kernel = find_kernel(node.op);
    step.draws = find_random_kernel(node.op) != nullptr;
    for (size_t i = 0; i < node.arguments.size(); ++i) {
      const graph::Argument& argument = node.arguments[i];
      step.arguments.push_back(graph::to_ivalue(argument, no_tensor, at::kCPU));
      const auto* tensor = std::get_if<graph::Tensor>(&argument);
      if ((tensor && tensor->id != kNoValue) || std::holds_alternative<graph::TensorList>(argument))
        step.tensor_arguments.push_back(i);
    }
    for (ValueId id : node.results)
      if (id != kNoValue)
        for (int index : outputs[id]) step.outputs.emplace_back(id, index);
    steps_.push_back(std::move(step));
  }
  std::vector<bool> is_input(graph.values.size(), false);
  for (const graph::Input& input : graph.inputs) is_input[static_cast<size_t>(input.value)] = true;
  for (size_t id = 0; id < last_use.size(); ++id)
    if (!is_input[id] && !steps_.empty()) steps_[last_use[id]].last_uses.push_back(static_cast<ValueId>(id));
  if (gathers) plan_gathers();
}

void Executor::plan_gathers() {
  lower::GatherPlan plan = lower::plan_gathers(graph_);
  std::vector<bool> is_view(graph_.values.size(), false);
  for (const std::vector<size_t>& views : plan.views) {
    for (size_t node : views) {
      steps_[node].is_view = true;
      for (ValueId id : graph_.nodes[node].results)
        if (id != kNoValue) is_view[static_cast<size_t>(id)] = true;
    }
  }
  for (Step& step : steps_)
    std::erase_if(step.last_uses, [&](ValueId id) { return is_view[static_cast<size_t>(id)]; });
  for (const lower::ParameterUse& use : plan.uses) {
    steps_[use.first].gathers.push_back(use.input);
    steps_[use.last].drops.push_back(use.input);
  }
  views_ = std::move(plan.views);
}

void Executor::gather(size_t input, const Run& run) {
  at::Tensor& value = values_[static_cast<size_t>(graph_.inputs[input].value)];
  value = run.inputs[input];
  if (!value.defined()) {
    if (run.fetch) value = run.fetch(input);
    if (!value.defined())
      throw JobError(cat("executor - input ", graph_.inputs[input].name, ": it has no value"));
    fetched_bytes_ += static_cast<int64_t>(value.nbytes());
    peak_fetched_bytes_ = std::max(peak_fetched_bytes_, fetched_bytes_);
  }
  for (size_t view : views_[input]) execute(steps_[view], run, !types_checked_);
}

void Executor::drop(size_t input, const Run& run) {
  at::Tensor& value = values_[static_cast<size_t>(graph_.inputs[input].value)];
  if (!run.inputs[input].defined()) fetched_bytes_ -= static_cast<int64_t>(value.nbytes());
  value = at::Tensor();
  for (size_t view : views_[input])
    for (ValueId id : graph_.nodes[view].results)
      if (id != kNoValue) values_[static_cast<size_t>(id)] = at::Tensor();
}

void Executor::run(const Run& run) {
  if (run.inputs.size() != graph_.inputs.size())
    throw JobError(cat("executor - inputs: got ", run.inputs.size(), ", want ", graph_.inputs.size()));
  const c10::InferenceMode no_autograd;
  for (size_t i = 0; i < graph_.inputs.size(); ++i) {
    const graph::Input& input = graph_.inputs[i];
    at::Tensor value = run.inputs[i];
    if (!value.defined())
      for (const auto* held : {&graph_.constants, &graph_.externals})
        if (const auto data = held->find(input.value); data != held->end()) value = data->second;
    if (!views_.empty() && input.kind == graph::InputKind::kParameter) continue;
    if (!value.defined()) throw JobError(cat("executor - input ", input.name, ": it has no value"));
    values_[static_cast<size_t>(input.value)] = std::move(value);
  }
  struct Clear {
    std::vector<at::Tensor>& values;
    ~Clear() { std::fill(values.begin(), values.end(), at::Tensor()); }
  } clear{values_};
  fetched_bytes_ = 0;

  for (const auto& [input, index] : input_outputs_) {
    const ValueId id = graph_.inputs[input].value;
    const bool absent = !values_[static_cast<size_t>(id)].defined();
    if (absent) gather(input, run);
    deliver(id, index, run);
    if (absent) drop(input, run);
  }
  const Arena::Scope scope(arena_, run.placement);
  for (const Step& step : steps_) {
    if (step.is_view) continue;
    for (size_t input : step.gathers) gather(input, run);
    const auto start =
        profiling_ ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
    try {
      execute(step, run, !types_checked_);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      if (is_out_of_memory(error))
        throw JobError(
            cat("memory - ", place_of(*step.node), ": this device has no room for its result; use smaller microbatches (more of them), or "
                "more devices with tp or zero=3"));
      const std::string reason = error.what();
      throw OperatorFailed(cat(place_of(*step.node), " - failed: ", reason.substr(0, reason.find('\n'))));
    }
    if (profiling_)
      seconds_[step.node->op] +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const auto& [id, index] : step.outputs) deliver(id, index, run);
    for (ValueId id : step.last_uses) values_[static_cast<size_t>(id)] = at::Tensor();
    for (size_t input : step.drops) drop(input, run);
  }
  types_checked_ = true;
}

void Executor::deliver(ValueId id, int index, const Run& run) {
  const at::Tensor& tensor = values_[static_cast<size_t>(id)];
  if (tensor.is_contiguous() && tensor.storage_offset() == 0 && tensor.nbytes() == tensor.storage().nbytes())
    arena_.mark_output(tensor.const_data_ptr(), tensor.nbytes(), index);
  const Arena::Pause pause;
  run.sink(index, tensor);
}

void Executor::execute(const Step& step, const Run& run, bool check_types) {
  torch::jit::Stack stack = step.arguments;
  const auto tensor_of = [&](ValueId id) { return values_[static_cast<size_t>(id)]; };
  for (size_t i : step.tensor_arguments)
    stack[i] = graph::to_ivalue(step.node->arguments[i], tensor_of, at::kCPU);

  if (step.kernel != nullptr && !(step.draws && run.sequential_random)) {
    step.kernel(stack, {run.random, step.node->random, run.exchanger});
  } else if (step.node->random >= 0 && !run.sequential_random) {
    throw InputError(cat(place_of(*step.node), " - random: it cannot be drawn by counter, and drawn otherwise it would depend on "
                         "the layout; make its numbers of those of rand, randn and other random operators "
                         "(docs/numerics.md, \"Random numbers\")"));
  } else {
    step.op->callBoxed(stack);
  }

  graph::for_each_result(*step.node, stack, [&](ValueId id, const at::Tensor& tensor) {
    if (check_types) {
      const graph::TensorType got = graph::type_of(tensor);
      const graph::TensorType& want = graph_.type(id);
      if (got.dtype != want.dtype || got.shape != want.shape)
        throw JobError(cat(place_of(*step.node), " - result: got ",
                           graph::print(got), ", capture predicted ", graph::print(want),
                           "; compute it by other operators (whoever adds operators to Shoal: its row in "
                           "src/capture/shape_rules.cc is wrong)"));
      // How a part lies in memory is not predicted.
      if (step.node->part == graph::kWhole && got != want) restrided_.insert(id);
    }
    const bool moves = !restrided_.empty() && restrided_.contains(id);
    values_[static_cast<size_t>(id)] = moves ? restride(tensor, graph_.type(id).strides) : tensor;
  });
}

}  // namespace shoal::run
