// The IR: one microbatch of the model's step, forward and backward, undivided, as a value.
//
// A Graph is functional (no node changes its input) and in order (a node's inputs are defined before it). It
// knows operators by name only; what they mean is in LibTorch's schemas and in the tables of ops/ and kernels/.
// docs/graph.md gives its text form.
#pragma once

#include <ATen/core/TensorBody.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace shoal::graph {

using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;
/// Its place in a vector by ValueId.
constexpr size_t at(ValueId id) { return static_cast<size_t>(id); }

/// What is known of a tensor before it exists. Strides are part of it: kernels give other bits on other
/// strides.
struct TensorType {
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements

  int64_t numel() const;
  int64_t bytes() const;  // of the elements
  bool is_contiguous() const;
  friend bool operator==(const TensorType&, const TensorType&) = default;
};
TensorType type_of(const at::Tensor&);
TensorType contiguous_type(c10::ScalarType, std::vector<int64_t> shape);
TensorType contiguous_type(const at::Tensor&);  // of a dense copy

// --- Arguments of a node, one alternative per kind of IValue that operators take ---
struct None {
  friend bool operator==(None, None) = default;
};
struct Tensor {
  ValueId id = kNoValue;
  friend bool operator==(Tensor, Tensor) = default;
};
struct TensorList {
  std::vector<ValueId> ids;  // kNoValue: absent, only when `optional`
  bool optional = false;     // the schema says Tensor?[]
  friend bool operator==(const TensorList&, const TensorList&) = default;
};
struct DeviceArgument {  // wherever the node runs
  friend bool operator==(DeviceArgument, DeviceArgument) = default;
};
using Argument = std::variant<None, Tensor, TensorList, DeviceArgument, bool, int64_t, double, std::string,
                              std::vector<bool>, std::vector<int64_t>, std::vector<double>>;

enum class Phase { kForward, kBackward };

/// A dim cut in equal parts: it is seen as [outer, parts, rest], and part p takes index p in the middle.
/// outer 1: contiguous parts; outer 3 divides a product of query, key and value by the heads of each.
struct Cut {
  int dim = 0;
  int64_t outer = 1;
  friend bool operator==(const Cut&, const Cut&) = default;
  friend auto operator<=>(const Cut&, const Cut&) = default;
};

inline constexpr int kWhole = -1;  // not a part of anything

struct Node {
  std::string op;  // "aten::add.Tensor"
  std::vector<Argument> arguments;
  std::vector<ValueId> results;  // kNoValue: no tensor there (undefined, or not a tensor)
  Phase phase = Phase::kForward;
  std::string scope;  // the module path of the parameters it serves, "" when unknown
  int random = -1;    // position among the graph's random nodes: its stream of random numbers; -1: not random
  int part = kWhole;  // in a divided graph: the part it computes
  int64_t call = 0;   // as autograd counts: a node of backward belongs to the first one of forward whose number is
                      // not less; 0: unknown. In memory alone, no part of the text
};

/// An external is a tensor that lives outside of the model (another module's weight, a captured tensor): each
/// run reads its numbers of now.
enum class InputKind { kParameter, kBuffer, kBatch, kConstant, kExternal };

struct Input {
  InputKind kind;
  std::string
      name;  // the module's name of a parameter or buffer; the position in the batch; "c<n>" for a constant,
             // "x<n>" for an external
  ValueId value;
  int part = kWhole;  // in a divided graph: the part of the parameter
};

/// The gradient of one parameter, or of a part of it: the sum, in this order, of its contributions (a tied
/// weight has several). kNoValue: in a device's graph, one that another stage makes.
struct Gradient {
  std::string parameter;
  std::vector<ValueId> contributions;
  int part = kWhole;
};

/// Buffers that forward changes (the running statistics of a batch norm), where no result reads the old
/// value: after a step, the update runs once for each microbatch in order (docs/numerics.md, "buffers").
struct Graph;
struct BufferUpdate {
  std::vector<std::string> buffers;     // that change
  std::vector<ValueId> observed;        // values of the microbatch that the update reads
  std::shared_ptr<const Graph> update;  // inputs: buffers by name (old values), batch "i" = observed[i];
                                        // results: the new value of each of `buffers`
};

struct Graph {
  std::vector<TensorType> values;  // by ValueId
  std::vector<Input> inputs;
  std::vector<Node> nodes;
  std::vector<ValueId> results;  // training: {loss}; inference: what the function returned
  std::vector<Gradient> gradients;
  std::map<ValueId, at::Tensor> constants;  // tensors of the host that forward made; absent after parse()
  std::map<ValueId, at::Tensor> externals;  // where their numbers are; absent after parse()
  BufferUpdate buffer_update;
  // A divided graph (numerics/divide.h): C parts, and how each divided parameter is cut.
  int64_t num_parts = 1;
  std::map<std::string, Cut> cuts;

  ValueId add_value(TensorType type) {
    values.push_back(std::move(type));
    return static_cast<ValueId>(values.size()) - 1;
  }
  const TensorType& type(ValueId id) const { return values.at(static_cast<size_t>(id)); }
};

/// Calls f(ValueId&) for every tensor the node reads, in order, absent ones left out; const nodes give const
/// ids.
template <class NodeType, class F>
void for_each_input(NodeType& node, F&& f) {
  for (auto& argument : node.arguments) {
    if (auto* tensor = std::get_if<Tensor>(&argument)) {
      if (tensor->id != kNoValue) f(tensor->id);
    } else if (auto* list = std::get_if<TensorList>(&argument)) {
      for (auto& id : list->ids)
        if (id != kNoValue) f(id);
    }
  }
}

/// All values that leave the graph: results, contributions in order, then what buffer updates observe. What another
/// stage makes is left out.
std::vector<ValueId> outputs(const Graph&);

inline constexpr size_t kNoNode = static_cast<size_t>(-1);
/// By value: the node that makes it; kNoNode for inputs.
std::vector<size_t> makers(const Graph&);

// --- text.cc: text form; print(parse(text)) == text ---
std::string print(const Graph&);
std::string print(const TensorType&);  // "f32[8,256]" or "f32[8,256]{1,8}" when not contiguous
std::string print(const Graph&, const Node&);
/// Reads what print(TensorType) writes. Throws InputError.
TensorType parse_type(const std::string& text);
/// Throws InputError: "graph line 7 - ...: got X, want Y". Constants come without their data.
Graph parse(const std::string& text);
/// "f32", "bf16", "i64", ...
std::string dtype_name(c10::ScalarType);

// --- verify.cc: what a legal graph is ---
/// Throws JobError naming the node, the rule it breaks and `when` ("after dead_code").
void verify(const Graph&, const std::string& when);

}  // namespace shoal::graph
