// check_capture: is the graph of a model what the model does?
#include <ATen/ops/allclose.h>
#include <ATen/ops/isnan.h>

#include "base/text.h"
#include "capture/capture.h"
#include "graph/passes.h"
#include "kernels/cpu/cpu_device.h"
#include "lower/storage.h"
#include "session/eager_run.h"
#include "session/modes.h"
#include "shoal/error.h"
#include "shoal/model.h"

namespace shoal {
namespace {

using session::Numbers;

void check_same_text(const graph::Graph& first, const graph::Graph& second) {
  const auto a = split(graph::print(first), '\n'), b = split(graph::print(second), '\n');
  if (a == b) return;
  const size_t line = first_unlike(a, b);
  throw JobError(cat("check_capture - two captures differ at line ", line + 1, ": got \"",
                     line < b.size() ? b[line] : "(end)", "\", want \"", line < a.size() ? a[line] : "(end)",
                     "\"; the model depends on something of the host that changes (a counter, rand(), a "
                     "tensor made by hand)"));
}

// The same bits; a NaN is a NaN.
void check_same(const std::string& what, const at::Tensor& got, const at::Tensor& want) {
  const auto type = [](const at::Tensor& tensor) { return graph::print(graph::contiguous_type(tensor)); };
  if (type(got) != type(want))
    throw JobError(cat("check_capture - ", what, ": got ", type(got), ", want ", type(want), " as in eager"));
  const at::Tensor both_nan = at::isnan(got).logical_and(at::isnan(want));
  const auto count = (got != want).logical_and(both_nan.logical_not()).sum().item<int64_t>();
  if (count == 0) return;
  const at::Tensor distance = (got.to(at::kDouble) - want.to(at::kDouble)).abs().nan_to_num(1.0 / 0.0);
  throw JobError(cat("check_capture - ", what, ": the replay differs from eager on ", count, " of ",
                     want.numel(), " elements, at most by ", distance.max().item<double>()));
}

void check_same(const std::string& call, const session::Outcome& got, const session::Outcome& want,
                Precision precision) {
  check_same(cat("loss", call), got.loss, want.loss);
  for (const auto& [name, gradient] : want.gradients) {
    const auto found = got.gradients.find(name);
    if (found == got.gradients.end())
      throw JobError(cat("check_capture - gradient of ", name, ": the graph has none"));
    // In bf16, gradients of embeddings are kept wider than eager keeps them (docs/numerics.md, "bf16").
    if (found->second.scalar_type() == gradient.scalar_type())
      check_same(cat("gradient of ", name, call), found->second, gradient);
  }
  for (const auto& [name, gradient] : got.gradients)
    if (!want.gradients.contains(name))
      throw JobError(cat("check_capture - gradient of ", name, ": the graph has one and eager has none"));
  for (const auto& [name, buffer] : want.buffers) {
    // In bf16, instance norm keeps running statistics in bf16 on the way: a rounding more than here.
    const at::Tensor& found = got.buffers.at(name);
    if (precision == Precision::kBF16 && buffer.is_floating_point() &&
        at::allclose(found, buffer, 0x1p-7, 0x1p-14, /*equal_nan=*/true))
      continue;
    check_same(cat("buffer ", name, " afterwards", call), found, buffer);
  }
}

// What a Trainer would say of the graph.
void check_trainable(const graph::Graph& graph) {
  if (lower::plan_storage(graph).units.empty())
    throw InputError("check_capture - model: it has no parameter that takes part in the loss");
}

// Two microbatches, one after the other: a module that keeps something from one call to the next does
// otherwise the second time.
void check_training(kernels::Device& device, const TrainingModel& model, const Batch& batch,
                    Precision precision, std::span<const graph::TensorType> types, Numbers numbers) {
  const graph::Graph graph = capture::capture_training(device, model, types, precision);
  check_same_text(graph, capture::capture_training(device, model, types, precision));
  check_trainable(graph);
  for (int64_t m = 0; m < 2; ++m) {
    const session::Microbatch microbatch{batch, true, {1, 0, m}};
    const session::Outcome want = session::run_eagerly(device, model, numbers, microbatch, graph, precision),
                         got = session::replay(device, graph, numbers, microbatch);
    check_same(m == 0 ? "" : " of the second call", got, want, precision);
    for (const auto& [name, buffer] : want.buffers) numbers[name] = buffer;
  }
}

// As Trainer::evaluate runs it. A loss that eager cannot run in eval mode either is none for evaluate().
void check_evaluation(kernels::Device& device, const TrainingModel& model, const Batch& batch,
                      Precision precision, std::span<const graph::TensorType> types, const Numbers& numbers) {
  const session::Microbatch microbatch{batch, false, {1, 0, -1}};
  session::in_evaluation(*model.module, [&] {
    try {
      const at::Tensor loss = session::run_eagerly(device, model, numbers, microbatch, {}, precision).loss;
      if (!loss.defined() || loss.numel() != 1) return;
    } catch (const std::exception&) {
      return;
    }
    const graph::Graph graph = capture::capture_forward(device, *model.module, model.loss, types, precision);
    const session::Outcome want = session::run_eagerly(device, model, numbers, microbatch, graph, precision);
    check_same("loss in eval mode", session::replay(device, graph, numbers, microbatch).loss, want.loss);
  });
}

}  // namespace

void check_capture(const TrainingModel& model, const Batch& batch, Precision precision) {
  if (!model.module) throw InputError("check_capture - model: got an empty module holder");
  kernels::Device& device = kernels::cpu();
  device.make_reproducible();
  try {
    std::vector<graph::TensorType> types;
    Batch dense;
    for (const at::Tensor& tensor : batch) {
      dense.push_back(tensor.contiguous());
      types.push_back(graph::type_of(dense.back()));
    }
    const Numbers numbers = session::numbers_of(device, model, precision);
    check_training(device, model, dense, precision, types, numbers);
    check_evaluation(device, model, dense, precision, types, numbers);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {  // of the model's own code
    const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
    const std::string reason = torch_error ? torch_error->what_without_backtrace() : error.what();
    throw InputError(cat("check_capture - model: ", reason.substr(0, reason.find('\n'))));
  }
}

}  // namespace shoal
