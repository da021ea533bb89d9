// What every device must bring alike to the first update of a capture: the run, the layout, the program that
// runs here, the model's tensors, its graph and its first numbers.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "capture/capture.h"
#include "comm/agree.h"
#include "graph/graph.h"
#include "shoal/trainer.h"

namespace shoal::train {

/// The run's settings key by key, the layout, and which Shoal and what device this is. Graphs, which the
/// definition has as hashes, are left out.
std::vector<comm::Fact> facts_of_run(const nlohmann::json& definition, const Layout&);

/// The type of each parameter and buffer, and whether it is trained.
std::vector<comm::Fact> facts_of_tensors(const capture::NamedTensors&);

/// Where the model's first numbers come from: a hash of each tensor of a built module, the constructor's
/// recorded operators of a described one.
std::vector<comm::Fact> facts_of_first_numbers(const TrainingModel&, const capture::NamedTensors&);

/// The contents of a tensor, as a hash.
std::string hash_of(const at::Tensor&);

}  // namespace shoal::train
