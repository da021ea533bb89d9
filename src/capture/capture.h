// An unchanged nn::Module becomes a Graph.
#pragma once

#include <memory>
#include <shared_mutex>
#include <span>

#include "capture/trace.h"
#include "graph/graph.h"
#include "kernels/device.h"
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

  std::vector<NamedTensor> all() const;  // parameters, then buffers
};
NamedTensors named_tensors(const torch::nn::Module& module);

/// While it is held, no capture on another thread keeps the numbers of modules from being read: for what reads
/// or writes them outside of the modules' own code.
std::shared_lock<std::shared_mutex> reading_modules();

/// The dtype that a parameter or buffer of this name has when the model computes in `precision`: batch norms
/// stay fp32.
c10::ScalarType compute_dtype(const torch::nn::Module& module, const NamedTensor& tensor,
                              Precision precision);

/// What the graph is for: to be computed as eager computes, or to be divided into parts, for which every layer
/// comes apart into operators that have rules (an LSTM, which eager gives to one kernel).
enum class Form { kWhole, kDivisible };

/// One call of a model: what it computes, and what later calls of its code are held against.
struct Call {
  graph::Graph graph;
  std::string text;  // of the graph
  std::shared_ptr<Trace> trace;
};

/// Whether two graphs of one text have the very same externals.
bool reads_the_same(const std::map<graph::ValueId, at::Tensor>&, const std::map<graph::ValueId, at::Tensor>&);

/// Forward and backward of one microbatch, as `device` computes them in eager. `types`: the batch's tensors.
/// Result: {loss}. The code is called once more, and must do the same again, unless it makes the graph whose text
/// is `known`. Throws InputError for what cannot be captured.
Call call_training(kernels::Device& device, const TrainingModel& model,
                   std::span<const graph::TensorType> types, Precision precision, Form form = Form::kWhole,
                   const std::string& known = "");
/// Forward alone of `function` on tensors of `types`; results: what it returns. Training mode is the module's
/// own.
Call call_forward(kernels::Device& device, const torch::nn::Module& module,
                  const std::function<at::Tensor(const Batch&)>& function,
                  std::span<const graph::TensorType> types, Precision precision, Form form = Form::kWhole,
                  const std::string& known = "");

/// The graphs alone.
graph::Graph capture_training(kernels::Device& device, const TrainingModel& model,
                              std::span<const graph::TensorType> types, Precision precision,
                              Form form = Form::kWhole);

graph::Graph capture_forward(kernels::Device& device, const torch::nn::Module& module,
                             const std::function<at::Tensor(const Batch&)>& function,
                             std::span<const graph::TensorType> types, Precision precision,
                             Form form = Form::kWhole);

}  // namespace capture
}  // namespace shoal
