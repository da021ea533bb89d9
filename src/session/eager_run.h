// The module's own code on real numbers, and a graph on the same ones: what check_capture compares.
#pragma once

#include <map>
#include <string>

#include "graph/graph.h"
#include "kernels/device.h"
#include "shoal/model.h"

namespace shoal::session {

/// A module's tensors by name, in the dtype that a graph's inputs have.
using Numbers = std::map<std::string, at::Tensor>;
/// Those of a built module; of a described one, those that its constructor draws.
Numbers numbers_of(kernels::Device&, const TrainingModel&, Precision);

/// What one microbatch leaves.
struct Outcome {
  at::Tensor loss;
  Numbers gradients;  // of the parameters that have one; empty in evaluation
  Numbers buffers;    // after it
};

/// What is compared: training or evaluation, and which random numbers it draws.
struct Microbatch {
  Batch batch;
  bool training = true;
  kernels::RandomKey random;
};

/// Random operators draw what the nodes of `graph` draw, in order.
Outcome run_eagerly(kernels::Device&, const TrainingModel&, const Numbers&, const Microbatch&,
                    const graph::Graph&, Precision);
Outcome replay(kernels::Device&, const graph::Graph&, const Numbers&, const Microbatch&);

}  // namespace shoal::session
