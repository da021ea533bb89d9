// What decides the bits of a run (docs/numerics.md). Stored with its checkpoints; nothing in it depends on a
// layout.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shoal/trainer.h"

namespace shoal::session {

/// `graph_hash`: of the text of the first captured graph.
nlohmann::json run_definition(const TrainerOptions&, const std::string& graph_hash,
                              const std::string& kind_of_device);

/// One setting in which the run of a checkpoint is another one than this run.
struct Difference {
  std::string name, theirs, ours;
  std::string place;    // where this run's was set; may be empty
  std::string setting;  // what sets it as theirs is; may be empty
};
/// Throws InputError that names the first few and how to give them all, unless there is none.
void refuse_other_run(const std::vector<Difference>&);

/// "optimizer.lr" for the key "/optimizer/lr" of a flattened definition.
std::string setting_name(const std::string& key);

/// Refuses a checkpoint of another run, its graph last: that one follows from the settings. Notes are not
/// compared.
void check_same_run(const nlohmann::json& here, const nlohmann::json& checkpoint);

}  // namespace shoal::session
