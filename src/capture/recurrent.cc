// Mirrors what at::lstm, at::gru, at::rnn_tanh and at::rnn_relu do with tensors of the CPU. One
// implementation serves all: a layer feeds a cell, step by step, with what a linear layer made of its whole
// input; a stack of layers does so for one direction or two.
#include "capture/recurrent.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mkldnn_rnn_layer.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>

#include "base/text.h"
#include "capture/packed_sequences.h"
#include "capture/recorder.h"

namespace shoal::capture {
namespace {

using at::Tensor;
using at::TensorList;

struct Weights {
  Tensor ih, hh, bias_ih, bias_hh, projection;  // undefined where a layer has none
};

// What a cell hands to the next step: h, and c of an LSTM.
using Hidden = std::vector<Tensor>;

// `input`: what the linear layer makes of x when `is_linear`, else x itself (of a cell that stands alone).
struct CellInput {
  Tensor input;
  bool is_linear;
  Tensor gates(const Weights& w) const { return is_linear ? input : at::linear(input, w.ih, w.bias_ih); }
};
using Cell = Hidden (*)(const CellInput&, const Hidden&, const Weights&);

Hidden lstm_step(const CellInput& x, const Hidden& hidden, const Weights& w) {
  const Tensor from_hidden = at::linear(hidden[0], w.hh, w.bias_hh);
  const auto gates = from_hidden.add_(x.gates(w)).unsafe_chunk(4, 1);
  const Tensor in = gates[0].sigmoid_(), forget = gates[1].sigmoid_(), cell = gates[2].tanh_(),
               out = gates[3].sigmoid_();
  const Tensor c = (forget * hidden[1]).add_(in * cell), h = out * c.tanh();
  return {w.projection.defined() ? at::matmul(h, w.projection.t()) : h, c};
}

// Eager adds to the gates in place, so that sigmoid finds them row by row, as views of all gates; a kernel
// rounds the end of a row otherwise than its middle. Recorded, the sums are tensors of their own: put side by
// side and taken apart again they are rows as well.
Hidden gru_step(const CellInput& x, const Hidden& hidden, const Weights& w) {
  const auto input = x.gates(w).unsafe_chunk(3, 1);
  const auto from_hidden = at::linear(hidden[0], w.hh, w.bias_hh).unsafe_chunk(3, 1);
  const auto gates = at::cat({from_hidden[0] + input[0], from_hidden[1] + input[1]}, 1).unsafe_chunk(2, 1);
  const Tensor reset = gates[0].sigmoid_(), update = gates[1].sigmoid_(),
               candidate = input[2].add(from_hidden[2].mul_(reset)).tanh_();
  return {(hidden[0] - candidate).mul_(update).add_(candidate)};
}

template <Tensor (*activation)(const Tensor&)>
Hidden simple_step(const CellInput& x, const Hidden& hidden, const Weights& w) {
  const Tensor from_hidden = at::linear(hidden[0], w.hh, w.bias_hh);
  return {activation(from_hidden.add_(x.gates(w)))};
}

struct Layer {
  Tensor output;
  Hidden hidden;  // after the last step
};

// One direction over `input` [t,n,i]. The output is in the input's order.
Layer run_steps(Cell cell, const Tensor& input, Hidden hidden, const Weights& w, bool reverse) {
  std::vector<Tensor> steps = at::linear(input, w.ih, w.bias_ih).unbind(0), outputs;
  if (reverse) std::reverse(steps.begin(), steps.end());
  for (const Tensor& step : steps) {
    hidden = cell({step, true}, hidden, w);
    outputs.push_back(hidden[0]);
  }
  if (reverse) std::reverse(outputs.begin(), outputs.end());
  return {at::stack(outputs, 0), hidden};
}

Hidden narrow(const Hidden& hidden, int64_t begin, int64_t end) {
  Hidden part;
  for (const Tensor& t : hidden) part.push_back(t.narrow(0, begin, end - begin));
  return part;
}

Hidden concatenate(const std::vector<Hidden>& parts) {
  Hidden whole;
  for (size_t i = 0; i < parts[0].size(); ++i) {
    std::vector<Tensor> tensors;
    for (const Hidden& part : parts) tensors.push_back(part[i]);
    whole.push_back(at::cat(tensors, 0));
  }
  return whole;
}

// One direction over packed sequences, the longest first: step t has the rows of the `batch_sizes[t]` that
// are as long. Forward, sequences that have ended leave their state behind; in reverse, they join as they
// begin.
Layer run_packed_steps(Cell cell, const Tensor& input, const std::vector<int64_t>& batch_sizes,
                       const Hidden& initial, const Weights& w, bool reverse) {
  const Tensor rows = at::linear(input, w.ih, w.bias_ih);
  std::vector<Tensor> outputs;
  std::vector<Hidden> ended;
  const size_t count = batch_sizes.size();
  int64_t size = batch_sizes[reverse ? count - 1 : 0], row = reverse ? input.size(0) : 0;
  Hidden hidden = reverse ? narrow(initial, 0, size) : initial;
  for (size_t i = 0; i < count; ++i) {
    const int64_t before = std::exchange(size, batch_sizes[reverse ? count - 1 - i : i]);
    if (reverse) {
      row -= size;
      if (size > before) hidden = concatenate({hidden, narrow(initial, before, size)});
    } else if (size < before) {
      ended.push_back(narrow(hidden, size, before));
      hidden = narrow(hidden, 0, size);
    }
    hidden = cell({rows.narrow(0, row, size), true}, hidden, w);
    if (!reverse) row += size;
    outputs.push_back(hidden[0]);
  }
  if (reverse) {
    std::reverse(outputs.begin(), outputs.end());
    return {at::cat(outputs, 0), hidden};
  }
  ended.push_back(hidden);
  std::reverse(ended.begin(), ended.end());
  return {at::cat(outputs, 0), concatenate(ended)};
}

// A call of at::lstm and its like.
struct Call {
  TensorList params;
  bool has_biases, has_projections;
  int64_t num_layers;
  double dropout;
  bool train, bidirectional;

  size_t directions() const { return bidirectional ? 2 : 1; }
  size_t num_weights() const { return (has_biases ? 4 : 2) + (has_projections ? 1 : 0); }
  void check(const Tensor& state) const {
    const auto want = static_cast<size_t>(num_layers) * directions();
    TORCH_CHECK(params.size() == want * num_weights(), "got ", params.size(),
                " weights of a recurrent layer, want ", want * num_weights());
    TORCH_CHECK(state.dim() == 3 && state.size(0) == static_cast<int64_t>(want),
                "got an initial state of shape [", join(state.sizes(), ","), "], want [", want,
                ",batch,features]");
  }
  Weights weights(size_t index) const {
    const TensorList w = params.slice(index * num_weights(), num_weights());
    Weights weights{w[0], w[1], {}, {}, {}};
    if (has_biases) weights.bias_ih = w[2], weights.bias_hh = w[3];
    if (has_projections) weights.projection = w.back();
    return weights;
  }
  Tensor dropped(const Tensor& output, int64_t layer) const {
    return dropout != 0 && train && layer < num_layers - 1 ? at::dropout(output, dropout, /*train=*/true)
                                                           : output;
  }
};

// The stack of layers; `direction(input, hidden, weights, reverse)` runs one. `initial`: [layers *
// directions, n, h] for h, and c. Returns the output, then the final state, stacked.
template <class Direction>
std::vector<Tensor> run_stack(const Call& call, Tensor x, const std::vector<Tensor>& initial,
                              const Direction& direction) {
  call.check(initial[0]);
  std::vector<std::vector<Tensor>> states, finals(initial.size());
  for (const Tensor& state : initial) states.push_back(state.unbind(0));
  for (int64_t layer = 0; layer < call.num_layers; ++layer) {
    std::vector<Tensor> outputs;
    for (size_t d = 0; d < call.directions(); ++d) {
      const size_t index = static_cast<size_t>(layer) * call.directions() + d;
      Hidden hidden;
      for (const auto& state : states) hidden.push_back(state.at(index));
      const Layer made = direction(x, hidden, call.weights(index), d == 1);
      outputs.push_back(made.output);
      for (size_t i = 0; i < finals.size(); ++i) finals[i].push_back(made.hidden[i]);
    }
    x = call.dropped(call.bidirectional ? at::cat(outputs, -1) : outputs[0], layer);
  }
  std::vector<Tensor> results = {x};
  for (const auto& state : finals) results.push_back(at::stack(state, 0));
  return results;
}

std::vector<Tensor> run_layers(const Call& call, Cell cell, const Tensor& input,
                               const std::vector<Tensor>& initial, bool batch_first) {
  const Tensor x = batch_first ? input.transpose(0, 1) : input;
  TORCH_CHECK(x.dim() == 3 && x.size(0) > 0, "Expected sequence length to be larger than 0 in RNN");
  auto results = run_stack(call, x, initial,
                           [&](const Tensor& in, const Hidden& hidden, const Weights& w, bool reverse) {
                             return run_steps(cell, in, hidden, w, reverse);
                           });
  if (batch_first) results[0] = results[0].transpose(0, 1);
  return results;
}

std::vector<Tensor> run_packed_layers(const Call& call, Cell cell, const Tensor& data,
                                      const Tensor& batch_sizes, const std::vector<Tensor>& initial) {
  const std::vector<int64_t> steps = host_numbers(batch_sizes);
  return run_stack(call, data, initial,
                   [&](const Tensor& in, const Hidden& hidden, const Weights& w, bool reverse) {
                     return run_packed_steps(cell, in, steps, hidden, w, reverse);
                   });
}

std::vector<Tensor> run_onednn_layers(const Call& call, const Tensor& input,
                                      const std::vector<Tensor>& initial, bool batch_first) {
  constexpr int64_t kLstm = 2;
  call.check(initial[0]);
  Tensor x = (batch_first ? input.transpose(0, 1) : input).contiguous();
  const Tensor h = initial[0].contiguous(), c = initial[1].contiguous();
  std::vector<Tensor> final_h, final_c;
  for (int64_t layer = 0; layer < call.num_layers; ++layer) {
    std::vector<Tensor> outputs;
    for (size_t d = 0; d < call.directions(); ++d) {
      const auto index = static_cast<size_t>(layer) * call.directions() + d;
      const Weights w = call.weights(index);
      const auto bias = [&](const Tensor& defined, const Tensor& weight) {
        return call.has_biases ? defined : at::zeros(weight.sizes(), weight.options());
      };
      const Tensor bias_ih = bias(w.bias_ih, w.ih), bias_hh = bias(w.bias_hh, w.hh);
      // The kernel keeps what backward reads when gradients are on. A replay has none on, so `train`, which
      // the kernel does not read, says it (kernels/cpu/kernels.cc).
      auto [y, hy, cy, workspace] = at::mkldnn_rnn_layer(
          x, w.ih, w.hh, bias_ih, bias_hh, h[static_cast<int64_t>(index)], c[static_cast<int64_t>(index)],
          /*reverse=*/d == 1, {}, kLstm, h.size(2), call.num_layers, call.has_biases, call.bidirectional,
          batch_first, at::GradMode::is_enabled());
      outputs.push_back(y);
      final_h.push_back(hy);
      final_c.push_back(cy);
    }
    x = call.dropped(call.bidirectional ? at::cat(outputs, -1) : outputs[0], layer);
  }
  return {batch_first ? x.transpose(0, 1) : x, at::stack(final_h, 0), at::stack(final_c, 0)};
}

using Two = std::tuple<Tensor, Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

Three lstm(const Tensor& input, TensorList hx, TensorList params, bool has_biases, int64_t num_layers,
           double dropout, bool train, bool bidirectional, bool batch_first) {
  TORCH_CHECK(hx.size() == 2, "lstm expects two hidden states");
  const bool projections = hx[0].size(2) != hx[1].size(2);
  const Call call{params, has_biases, projections, num_layers, dropout, train, bidirectional};
  const Recording* const recording = Recording::active();
  const bool fused = recording != nullptr && !projections && !recording->comes_apart() &&
                     recording->device().takes_lstm(input);
  const auto r = fused ? run_onednn_layers(call, input, hx.vec(), batch_first)
                       : run_layers(call, lstm_step, input, hx.vec(), batch_first);
  return {r[0], r[1], r[2]};
}

Three lstm_packed(const Tensor& data, const Tensor& batch_sizes, TensorList hx, TensorList params,
                  bool has_biases, int64_t num_layers, double dropout, bool train, bool bidirectional) {
  TORCH_CHECK(hx.size() == 2, "lstm expects two hidden states");
  const bool projections = hx[0].size(2) != hx[1].size(2);
  const auto r =
      run_packed_layers({params, has_biases, projections, num_layers, dropout, train, bidirectional},
                        lstm_step, data, batch_sizes, hx.vec());
  return {r[0], r[1], r[2]};
}

template <Cell cell>
Two layers(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, int64_t num_layers,
           double dropout, bool train, bool bidirectional, bool batch_first) {
  const auto r = run_layers({params, has_biases, false, num_layers, dropout, train, bidirectional}, cell,
                            input, {hx}, batch_first);
  return {r[0], r[1]};
}

template <Cell cell>
Two packed_layers(const Tensor& data, const Tensor& batch_sizes, const Tensor& hx, TensorList params,
                  bool has_biases, int64_t num_layers, double dropout, bool train, bool bidirectional) {
  const auto r = run_packed_layers({params, has_biases, false, num_layers, dropout, train, bidirectional},
                                   cell, data, batch_sizes, {hx});
  return {r[0], r[1]};
}

Two lstm_cell(const Tensor& input, TensorList hx, const Tensor& w_ih, const Tensor& w_hh,
              const std::optional<Tensor>& b_ih, const std::optional<Tensor>& b_hh) {
  TORCH_CHECK(hx.size() == 2, "lstm_cell expects two hidden states");
  const Hidden h =
      lstm_step({input, false}, hx.vec(), {w_ih, w_hh, b_ih.value_or(Tensor()), b_hh.value_or(Tensor()), {}});
  return {h[0], h[1]};
}

Tensor gru_cell(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh,
                const std::optional<Tensor>& b_ih, const std::optional<Tensor>& b_hh) {
  return gru_step({input, false}, {hx},
                  {w_ih, w_hh, b_ih.value_or(Tensor()), b_hh.value_or(Tensor()), {}})[0];
}

}  // namespace

void register_recurrent() {
  static torch::Library library = [] {
    // Above autograd, so that it differentiates what the CPU's own code would have it differentiate.
    torch::Library made(torch::Library::IMPL, "aten", c10::DispatchKey::AutogradPrivateUse1, __FILE__,
                        __LINE__);
    made.impl("lstm.input", TORCH_FN(lstm));
    made.impl("lstm.data", TORCH_FN(lstm_packed));
    made.impl("gru.input", TORCH_FN(layers<gru_step>));
    made.impl("gru.data", TORCH_FN(packed_layers<gru_step>));
    made.impl("rnn_tanh.input", TORCH_FN(layers<simple_step<at::tanh>>));
    made.impl("rnn_tanh.data", TORCH_FN(packed_layers<simple_step<at::tanh>>));
    made.impl("rnn_relu.input", TORCH_FN(layers<simple_step<at::relu>>));
    made.impl("rnn_relu.data", TORCH_FN(packed_layers<simple_step<at::relu>>));
    made.impl("lstm_cell", TORCH_FN(lstm_cell));
    made.impl("gru_cell", TORCH_FN(gru_cell));
    register_packing(made);
    return made;
  }();
}

}  // namespace shoal::capture
