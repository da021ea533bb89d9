// The memory of a device, by kind, from its Programs alone: known before anything runs. Who speaks of memory
// (the plan, a refusal, the planner) asks here.
#pragma once

#include <string>

#include "lower/ownership.h"
#include "lower/program.h"
#include "shoal/memory.h"

namespace shoal::lower {

Memory memory_of(const Program&);
/// Of its windows those for transfers to other stages, of which each Program has its own.
int64_t transfer_bytes(const Program&);

/// Before there is a Program: weights, accumulators, masters and the state of the largest optimizer.
int64_t model_bytes(const Ownership&, const GradientSchedule&, int rank);

/// "weights 1.5 MiB, gradients 1.5 MiB, ...: 8.2 MiB".
std::string print(const Memory&);

}  // namespace shoal::lower
