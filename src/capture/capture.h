// An unchanged nn::Module becomes a Graph.
#pragma once

#include <span>

#include "graph/graph.h"
#include "shoal/model.h"

namespace shoal {

class Initialisation {
 public:
  /// Results are the values of parameters, then buffers, of named_tensors(module).
  graph::Graph graph;
};

namespace capture {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// A module's tensors, each once: a tied weight has the first of its names.
struct NamedTensors {
  std::vector<NamedTensor> parameters, buffers;
};
NamedTensors named_tensors(const torch::nn::Module& module);

/// The dtype that a parameter or buffer of this name has when the model computes in `precision`: batch norms
/// stay fp32.
c10::ScalarType compute_dtype(const torch::nn::Module& module, const NamedTensor& tensor,
                              Precision precision);

/// What the graph is for: to be computed as eager computes, or to be divided into parts, for which every layer
/// comes apart into operators that have rules (an LSTM, which eager gives to one kernel).
enum class Form { kWhole, kDivisible };

/// Forward and backward of one microbatch. `types`: the batch's tensors. Result: {loss}. Throws InputError
/// for what cannot be captured.
graph::Graph capture_training(const TrainingModel& model, std::span<const graph::TensorType> types,
                              Precision precision, Form form = Form::kWhole);

/// Forward alone of `function` on tensors of `types`; results: what it returns. Training mode is the module's
/// own.
graph::Graph capture_forward(const torch::nn::Module& module,
                             const std::function<at::Tensor(const Batch&)>& function,
                             std::span<const graph::TensorType> types, Precision precision,
                             Form form = Form::kWhole);

}  // namespace capture
}  // namespace shoal
