#include "run/externals.h"

#include <algorithm>

#include "base/text.h"
#include "capture/ghost.h"
#include "capture/shared_memory.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

std::string place_of(const at::Tensor& original) {
  return cat("trainer - ", capture::text_of(original), " outside of the model: ");
}

// The same elements of `whole`, the value of `owner`, that `view` is of the memory of `owner`.
at::Tensor same_view(const at::Tensor& view, const at::Tensor& owner, const at::Tensor& whole) {
  if (view.is_same(owner)) return whole;
  const at::Tensor ghost = capture::ghost_beneath(view), own = capture::ghost_beneath(owner);
  const bool is_whole = ghost.defined() ? own.defined() && capture::ghost_id(ghost) == capture::ghost_id(own)
                                        : view.sizes() == owner.sizes() && view.strides() == owner.strides() &&
                                              view.storage_offset() == owner.storage_offset();
  if (is_whole) return whole;
  if (ghost.defined() || !owner.is_contiguous() || view.scalar_type() != owner.scalar_type())
    throw InputError(cat(place_of(view), "it is a view of what another Trainer trains, made before forward was "
                                         "called; make it in forward"));
  return whole.contiguous().as_strided(view.sizes(), view.strides(), view.storage_offset() - owner.storage_offset());
}

// `entry`: who trains it; null when nobody does.
at::Tensor current(const at::Tensor& original, const LiveTensors::Entry* entry) {
  const bool is_ghost = capture::ghost_beneath(original).defined();
  if (entry == nullptr) {
    if (is_ghost)
      throw InputError(cat(place_of(original), "it was made by the constructor of a described model that no Trainer "
                                               "of this World trains, so it has no numbers; build that model "
                                               "instead, or keep its Trainer"));
    return original.detach();
  }
  const at::Tensor whole = entry->value();
  if (whole.defined()) return same_view(original, entry->original, whole);
  if (is_ghost)
    throw InputError(cat(place_of(original), "it is ", entry->name,
                         " of a described model whose Trainer has no numbers yet; call prepare() or step() of "
                         "that Trainer first"));
  return original.detach();
}

}  // namespace

Externals::Externals(const graph::Graph& graph, LiveTensors& live, kernels::Device& device)
    : graph_(graph), live_(live), device_(device) {
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    if (graph.inputs[i].kind == graph::InputKind::kExternal)
      all_.push_back({i, graph.externals.at(graph.inputs[i].value), {}});
}

void Externals::bind() {
  for (External& external : all_) {
    const graph::TensorType& want = graph_.type(graph_.inputs[external.input].value);
    const LiveTensors::Entry* const entry = live_.find(external.original);
    at::Tensor value = current(external.original, entry);
    graph::TensorType got = graph::type_of(value);
    if (got.shape != want.shape || (entry == nullptr && got.dtype != want.dtype))
      throw InputError(cat(place_of(external.original), "got ", graph::print(got), ", want ", graph::print(want),
                           " as when the model was captured; a Trainer of its own for each shape"));
    if (got != want)  // as it lay when it was captured
      value = device_.restride(value.to(want.dtype), want.strides);
    external.value = std::move(value);
  }
}

at::Tensor Externals::value(size_t input) const {
  for (const External& external : all_)
    if (external.input == input) return external.value;
  return {};
}

}  // namespace shoal::run
