#include "session/function.h"

#include "base/hash.h"
#include "capture/hooks.h"
#include "lower/lower.h"
#include "session/kept.h"

namespace shoal::session {

std::string Function::Found::hash() const { return known ? known->hash : hash_hex(call.text); }

// Evaluation is in eval mode and without gradients, whatever the flags say.
Key Function::key_of(const Shapes& shapes) const {
  if (of_ == Of::kEvaluation) return {shapes, {}, {}, {}};
  Key key{shapes, modes_of(*session_.model.module), {}, {}};
  for (const capture::NamedTensor& named : session_.tensors.parameters) {
    key.trainable.push_back(named.tensor.requires_grad());
    key.hooks.push_back(capture::count_hooks(named.tensor));
  }
  return key;
}

capture::Call Function::call_code(const Key& key) const {
  const TrainingModel& model = session_.model;
  const Precision precision = session_.options.precision;
  kernels::Device& device = session_.world.device();
  const std::string known = graphs_.text_of(key);
  if (of_ == Of::kTraining)
    return capture::call_training(device, model, key.shapes, precision, form_of(session_.options), known);
  return capture::call_forward(device, *model.module, code_, key.shapes, precision, form_of(session_.options),
                               known);
}

Function::Found Function::find(const Key& key, const std::string& activity,
                               const std::map<std::string, graph::Cut>* cuts) {
  Found found;
  const auto look = [&] {
    found.known = graphs_.find(key, code_, /*gradients=*/of_ == Of::kTraining);
    if (found.known) return;
    session_.calls.set_activity(activity);
    found.call = call_code(key);
    found.known = graphs_.find(key, found.call);
  };
  if (of_ == Of::kTraining)
    look();
  else
    in_evaluation(*session_.model.module, look);
  if (found.known) return found;
  found.divided = numerics::divide_run(found.call.graph, session_.options.tensor_chunks, cuts);
  const bool is_first = cuts == nullptr;
  if (of_ == Of::kTraining && session_.options.tensor_chunks > 1 && (is_first || session_.has_peers()))
    found.divided_text = graph::print(found.divided.graph);
  return found;
}

Captured& Function::add(const Key& key, Found found, const lower::Ownership& ownership, comm::Group& world) {
  const int rank = session_.world.rank();
  const graph::Graph& divided = found.divided.graph;
  lower::Lowered lowered =
      of_ == Of::kTraining
          ? lower::lower_training(divided, ownership, session_.options.microbatches, rank,
                                  kept_of(session_.model, session_.tensors, ownership.storage(), session_.options))
          : lower::lower_evaluation(divided, ownership, rank);
  auto captured = std::make_unique<Captured>(key, found.call, std::move(lowered.local),
                                             std::move(lowered.programs.at(static_cast<size_t>(rank))),
                                             ownership.storage(), world, session_.world.live_tensors(),
                                             session_.world.device());
  captured->execution.graph.set_profiling(profiling_);
  return graphs_.add(std::move(captured));
}

void Function::profile(bool on) {
  profiling_ = on;
  for (const auto& captured : graphs_) captured->execution.graph.set_profiling(on);
}

std::map<std::string, double> Function::seconds_by_operator() const {
  std::map<std::string, double> all;
  for (const auto& captured : graphs_)
    for (const auto& [op, seconds] : captured->execution.graph.seconds_by_operator()) all[op] += seconds;
  return all;
}

std::map<std::string, std::string> Function::hashes() const {
  std::map<std::string, std::string> hashes;
  for (const auto& captured : graphs_) hashes[print_shapes(captured->key.shapes)] = captured->hash;
  return hashes;
}

}  // namespace shoal::session
