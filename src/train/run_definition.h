// What decides the bits of a run (docs/numerics.md). Stored with its checkpoints; nothing in it depends on a
// layout.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "shoal/trainer.h"

namespace shoal::train {

/// `graph_hash`: of the text of the first captured graph.
nlohmann::json run_definition(const TrainerOptions&, const std::string& graph_hash,
                              const std::string& kind_of_device);

/// "optimizer.lr" for the key "/optimizer/lr" of a flattened definition.
std::string setting_name(const std::string& key);

/// Throws InputError naming the facts, or the first few, in which the checkpoint's run differs. Notes are not
/// compared.
void check_same_run(const nlohmann::json& here, const nlohmann::json& checkpoint);

}  // namespace shoal::train
