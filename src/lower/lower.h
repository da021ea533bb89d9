// From a device's graph to its Programs.
#pragma once

#include "lower/local_graph.h"
#include "lower/ownership.h"
#include "lower/program.h"
#include "lower/staged_graph.h"

namespace shoal::lower {

/// What a device keeps of the model besides what the graph says.
struct Kept {
  int64_t optimizer_states = 0;  // fp32 numbers that the optimizer has for each weight
  int64_t module_bytes = 0;      // of frozen parameters and buffers
};

/// The Programs of all ranks, checked together, and what `rank` runs of the divided graph: its parts, with
/// exchanges (local_graph.h), and with zero = 3 fetches of what others keep (fetch_weights.h).
struct Lowered {
  LocalGraph local;
  std::vector<Program> programs;
  std::vector<StageCost> costs;  // of a training with pp > 1
};

/// One step: every microbatch forward and backward, the sum of their gradients, the update. Throws InputError
/// when there are fewer microbatches than layout.dp.
Lowered lower_training(const graph::Graph& divided, const Ownership&, int64_t num_microbatches, int rank,
                       const Kept& = {});

/// One batch forward, for its loss.
Lowered lower_evaluation(const graph::Graph& divided, const Ownership&, int rank);

}  // namespace shoal::lower
