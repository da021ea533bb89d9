// What every device must bring alike to a step: to each the shapes and the module's state, to the first update
// of a capture also the run, the layout, the program that runs here, the model's tensors, its graph and its
// first numbers.
#pragma once

#include <vector>

#include "comm/agree.h"
#include "session/function.h"
#include "session/session.h"

namespace shoal::session {

/// Of every step: shapes, submodules in eval(), frozen parameters.
std::vector<comm::Fact> facts_of(const Session&, const Key&);

/// Of a capture that is new: the run's settings key by key, the layout, which Shoal and what device this is,
/// the type of each parameter and buffer and whether it is trained, the graphs. `is_first`: also where the
/// model's first numbers come from. REQUIRES: the session has its definition.
std::vector<comm::Fact> facts_of(const Session&, const Function::Found&, bool is_first);

void add(std::vector<comm::Fact>&, std::vector<comm::Fact> more);

}  // namespace shoal::session
