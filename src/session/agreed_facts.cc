#include "session/agreed_facts.h"

#include <algorithm>

#include "base/text.h"
#include "session/run_definition.h"
#include "session/tensor_hash.h"
#include "session/trace_file.h"

namespace shoal::session {
namespace {

std::string frozen(const Session& session, const Key& key) {
  std::vector<std::string> names;
  for (size_t i = 0; i < key.trainable.size(); ++i)
    if (!key.trainable[i]) names.push_back(session.tensors.parameters[i].name);
  return names.empty() ? "none" : join(names, ", ");
}

// Graphs, which the definition has as hashes, are told as text.
std::vector<comm::Fact> facts_of_run(const Session& session) {
  std::vector<comm::Fact> facts = {
      {"shoal", SHOAL_VERSION},
      {"layout", print(session.layout)},
      {"stages", session.options.stages.empty() ? "auto" : join(session.options.stages, ",")},
      {"grid", session.options.grid.empty() ? "auto" : session.options.grid},
      {"trace", print(session.options.trace)}};
  const nlohmann::json flat = session.definition.flatten();
  for (const auto& [key, value] : flat.items()) {
    if (key.ends_with("graph")) continue;
    facts.push_back({setting_name(key), value.dump()});
  }
  // Another optimizer has other settings: what it is comes first.
  std::ranges::stable_partition(facts, [](const comm::Fact& fact) { return fact.name.ends_with(".name"); });
  return facts;
}

std::vector<comm::Fact> facts_of_tensors(const capture::NamedTensors& tensors) {
  std::vector<comm::Fact> facts;
  for (const capture::NamedTensor& named : tensors.parameters)
    facts.push_back({cat("parameter ", named.name), cat(graph::print(graph::type_of(named.tensor)),
                                                        named.tensor.requires_grad() ? "" : " (frozen)")});
  for (const capture::NamedTensor& named : tensors.buffers)
    facts.push_back({cat("buffer ", named.name), graph::print(graph::type_of(named.tensor))});
  return facts;
}

// A hash of each tensor of a built module, the constructor's recorded operators of a described one.
std::vector<comm::Fact> facts_of_first_numbers(const TrainingModel& model,
                                               const capture::NamedTensors& tensors) {
  if (model.initialisation)
    return {{"the constructor's recorded operators", graph::print(model.initialisation->graph)}};
  std::vector<comm::Fact> facts;
  for (const capture::NamedTensor& named : tensors.all())
    facts.push_back({cat("first value of ", named.name), hash_of(named.tensor),
                     "every device must begin with the same model: call torch::manual_seed(n) before it is "
                     "built, or build it in shoal::describe",
                     /*is_hash=*/true});
  return facts;
}

}  // namespace

std::vector<comm::Fact> facts_of(const Session& session, const Key& key) {
  return {{"microbatch", print_shapes(key.shapes)},
          {"submodules in eval()", print(key.modes, *session.model.module)},
          {"frozen parameters", frozen(session, key)}};
}

std::vector<comm::Fact> facts_of(const Session& session, const Function::Found& found, bool is_first) {
  std::vector<comm::Fact> facts = facts_of_run(session);
  add(facts, facts_of_tensors(session.tensors));
  add(facts, {{"the graph", found.call.text}});
  if (!found.divided_text.empty()) add(facts, {{"the divided graph", found.divided_text}});
  if (is_first) add(facts, facts_of_first_numbers(session.model, session.tensors));
  return facts;
}

void add(std::vector<comm::Fact>& facts, std::vector<comm::Fact> more) {
  std::move(more.begin(), more.end(), std::back_inserter(facts));
}

}  // namespace shoal::session
