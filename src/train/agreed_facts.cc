#include "train/agreed_facts.h"

#include <algorithm>

#include "base/hash.h"
#include "base/text.h"
#include "train/run_definition.h"

namespace shoal::train {

std::vector<comm::Fact> facts_of_run(const nlohmann::json& definition, const Layout& layout) {
  std::vector<comm::Fact> facts = {{"shoal", SHOAL_VERSION}, {"layout", print(layout)}};
  const nlohmann::json flat = definition.flatten();
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

std::vector<comm::Fact> facts_of_first_numbers(const TrainingModel& model,
                                               const capture::NamedTensors& tensors) {
  if (model.initialisation)
    return {{"the constructor's recorded operators", graph::print(model.initialisation->graph)}};
  std::vector<comm::Fact> facts;
  for (const auto* list : {&tensors.parameters, &tensors.buffers})
    for (const capture::NamedTensor& named : *list)
      facts.push_back({cat("first value of ", named.name), hash_of(named.tensor),
                       "every device must begin with the same model: call torch::manual_seed(n) before it is "
                       "built, or build it in shoal::describe",
                       /*is_hash=*/true});
  return facts;
}

std::string hash_of(const at::Tensor& tensor) {
  const auto reading = capture::reading_modules();
  const at::Tensor dense = tensor.detach().contiguous();
  return hash_hex({static_cast<const std::byte*>(dense.const_data_ptr()), dense.nbytes()});
}

}  // namespace shoal::train
