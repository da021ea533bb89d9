#include "numerics/passes.h"

#include <algorithm>
#include <optional>

namespace shoal::numerics {
namespace {

using graph::Graph;
using graph::kNoValue;
using graph::Node;
using graph::None;
using graph::Tensor;
using graph::TensorType;
using graph::ValueId;

ValueId tensor(const Node& node, size_t argument) {
  const auto* found = std::get_if<Tensor>(&node.arguments[argument]);
  return found == nullptr ? kNoValue : found->id;
}
int64_t integer(const Node& node, size_t argument) { return std::get<int64_t>(node.arguments[argument]); }

// _log_softmax(x [n,v], 1) read by nll_loss_forward, and in training by the two backward operators, and by
// nothing else.
struct CrossEntropy {
  size_t log_softmax, loss;
  std::optional<size_t> loss_backward, log_softmax_backward;
};

std::optional<CrossEntropy> find_cross_entropy(const Graph& graph, size_t log_softmax,
                                               const std::vector<std::vector<size_t>>& readers,
                                               const std::vector<bool>& is_output) {
  const Node& first = graph.nodes[log_softmax];
  const TensorType& logits = graph.type(tensor(first, 0));
  const ValueId logs = first.results[0];
  if (first.op != "aten::_log_softmax" || logits.shape.size() != 2 ||
      logits.dtype != c10::ScalarType::Float || (integer(first, 1) != 1 && integer(first, 1) != -1) ||
      is_output[static_cast<size_t>(logs)])
    return std::nullopt;
  std::optional<size_t> loss, loss_backward, log_softmax_backward;
  for (size_t reader : readers[static_cast<size_t>(logs)]) {
    const Node& node = graph.nodes[reader];
    auto* role = node.op == "aten::nll_loss_forward"             ? &loss
                 : node.op == "aten::nll_loss_backward"          ? &loss_backward
                 : node.op == "aten::_log_softmax_backward_data" ? &log_softmax_backward
                                                                 : nullptr;
    if (role == nullptr || *role) return std::nullopt;
    *role = reader;
  }
  if (!loss || loss_backward.has_value() != log_softmax_backward.has_value()) return std::nullopt;
  const Node& forward = graph.nodes[*loss];
  // (logs, target, weight, reduction, ignore_index)
  if (tensor(forward, 2) != kNoValue || integer(forward, 3) == 0 ||
      graph.type(tensor(forward, 1)).dtype != c10::ScalarType::Long)
    return std::nullopt;
  if (loss_backward) {
    const ValueId between = graph.nodes[*loss_backward].results[0];
    if (readers[static_cast<size_t>(between)].size() != 1 || is_output[static_cast<size_t>(between)] ||
        tensor(graph.nodes[*log_softmax_backward], 0) != between)
      return std::nullopt;
  }
  return CrossEntropy{log_softmax, *loss, loss_backward, log_softmax_backward};
}

class Rewriter {
 public:
  explicit Rewriter(Graph graph) : graph_(std::move(graph)), replaced_(graph_.nodes.size()) {}

  Graph run() {
    std::vector<std::vector<size_t>> readers(graph_.values.size());
    std::vector<bool> is_output(graph_.values.size(), false);
    for (size_t n = 0; n < graph_.nodes.size(); ++n)
      graph::for_each_input(graph_.nodes[n], [&](ValueId id) {
        auto& list = readers[static_cast<size_t>(id)];
        if (list.empty() || list.back() != n) list.push_back(n);
      });
    for (ValueId id : graph::outputs(graph_)) is_output[static_cast<size_t>(id)] = true;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const std::string& op = graph_.nodes[n].op;
      if (op == "aten::_log_softmax") {
        if (const auto found = find_cross_entropy(graph_, n, readers, is_output)) open(*found);
      } else if (op == "aten::embedding") {
        open_embedding(n);
      } else if (op == "aten::embedding_dense_backward") {
        open_embedding_backward(n);
      }
    }
    std::vector<Node> nodes;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (!replaced_[n])
        nodes.push_back(std::move(graph_.nodes[n]));
      else
        std::move(replaced_[n]->begin(), replaced_[n]->end(), std::back_inserter(nodes));
    }
    graph_.nodes = std::move(nodes);
    return std::move(graph_);
  }

 private:
  Node node(const char* op, std::vector<graph::Argument> arguments, std::vector<ValueId> results,
            const Node& like) {
    Node made;
    made.op = op;
    made.arguments = std::move(arguments);
    made.results = std::move(results);
    made.phase = like.phase;
    made.scope = like.scope;
    made.call = like.call;
    return made;
  }
  ValueId value(std::vector<int64_t> shape) {
    return graph_.add_value(graph::contiguous_type(c10::ScalarType::Float, std::move(shape)));
  }

  void open(const CrossEntropy& found) {
    const Node first = graph_.nodes[found.log_softmax], loss = graph_.nodes[found.loss];
    const ValueId logits = tensor(first, 0), target = tensor(loss, 1),
                  lse = value({graph_.type(logits).shape[0]});
    const int64_t reduction = integer(loss, 3), ignore_index = integer(loss, 4), no_offset = 0;
    replaced_[found.log_softmax] = {node("shoal::row_lse", {Tensor{logits}}, {lse}, first)};
    const ValueId sums = value({2});
    replaced_[found.loss] = {node("shoal::cross_entropy_sums",
                                  {Tensor{logits}, Tensor{lse}, Tensor{target}, ignore_index,
                                   graph_.type(logits).shape[1], no_offset},
                                  {sums}, loss),
                             node("shoal::cross_entropy_finish", {Tensor{sums}, reduction},
                                  {loss.results[0], weight_of(loss)}, loss)};
    if (!found.loss_backward) return;
    const Node backward = graph_.nodes[*found.loss_backward],
               last = graph_.nodes[*found.log_softmax_backward];
    replaced_[*found.loss_backward] = std::vector<Node>{};
    graph_.values[static_cast<size_t>(last.results[0])] =
        graph::contiguous_type(c10::ScalarType::Float, graph_.type(logits).shape);
    replaced_[*found.log_softmax_backward] = {
        node("shoal::cross_entropy_backward",
             {Tensor{tensor(backward, 0)}, Tensor{logits}, Tensor{lse}, Tensor{target},
              Tensor{weight_of(loss)}, reduction, ignore_index, no_offset},
             {last.results[0]}, last)};
  }
  ValueId weight_of(const Node& loss) {
    if (weight_ == kNoValue || weight_loss_ != loss.results[0]) {
      weight_loss_ = loss.results[0];
      weight_ = loss.results[1] == kNoValue ? value({}) : loss.results[1];
    }
    return weight_;
  }

  // (weight, indices, padding_idx, scale_grad_by_freq, sparse)
  void open_embedding(size_t n) {
    const Node old = graph_.nodes[n];
    const int64_t rows = graph_.type(tensor(old, 0)).shape[0];
    replaced_[n] = {node("shoal::embedding_rows", {old.arguments[0], old.arguments[1], rows, int64_t{0}},
                         old.results, old)};
  }
  // (grad, indices, num_weights, padding_idx, scale_grad_by_freq)
  void open_embedding_backward(size_t n) {
    const Node old = graph_.nodes[n];
    if (std::get<bool>(old.arguments[4]) || graph_.type(tensor(old, 0)).dtype != c10::ScalarType::Float)
      return;
    replaced_[n] = {node("shoal::embedding_rows_backward",
                         {old.arguments[0], old.arguments[1], old.arguments[2], old.arguments[3], int64_t{0}},
                         old.results, old)};
  }

  Graph graph_;
  std::vector<std::optional<std::vector<Node>>> replaced_;
  ValueId weight_ = kNoValue, weight_loss_ = kNoValue;
};

}  // namespace

Graph open_vocabulary(Graph graph) { return Rewriter(std::move(graph)).run(); }

}  // namespace shoal::numerics
