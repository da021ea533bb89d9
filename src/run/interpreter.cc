#include "run/interpreter.h"

#include <ATen/ops/from_blob.h>

#include <chrono>
#include <cmath>

#include "base/text.h"
#include "comm/reduce.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

using lower::Instruction;
using Kind = Instruction::Kind;

class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(start_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

std::vector<at::Tensor> bind_inputs(const graph::Graph& graph, const DeviceMemory& memory,
                                    const std::vector<at::Tensor>& batch) {
  std::vector<at::Tensor> inputs;
  size_t next = 0;
  for (const graph::Input& input : graph.inputs) {
    switch (input.kind) {
      case graph::InputKind::kParameter:
      case graph::InputKind::kBuffer:
        inputs.push_back(memory.value(input.name));
        break;
      case graph::InputKind::kBatch:
        inputs.push_back(batch.at(next++));
        break;
      case graph::InputKind::kConstant:
        inputs.emplace_back();
        break;
    }
  }
  return inputs;
}

Interpreter::Interpreter(comm::Communicator& communicator, const lower::Storage& storage,
                         const lower::Program& program, DeviceMemory& memory, Update update)
    : communicator_(communicator),
      storage_(storage),
      program_(program),
      memory_(memory),
      update_(std::move(update)),
      scratch_(program.roots.size()) {
  for (size_t p = 0; p < storage.parameters.size(); ++p)
    for (size_t c = 0; c < storage.parameters[p].contributions.size(); ++c)
      contribution_of_output_.emplace_back(p, c);
}

StepOutcome Interpreter::run(const StepRequest& request) {
  outcome_ = {};
  memory_.stop() = request.stop ? 1 : 0;
  request.buffers->clear();
  for (const Instruction& instruction : program_.instructions) {
    Stopwatch watch;
    const double waited = outcome_.seconds.wait;
    const auto since = [&] { return watch.lap() - (outcome_.seconds.wait - waited); };
    const auto act = [&](std::string_view what) {
      communicator_.set_activity(cat("step ", request.step, ": ", what));
    };
    switch (instruction.kind) {
      case Kind::kCompute:
        act(cat("compute microbatch ", instruction.microbatch));
        compute(instruction, request);
        outcome_.seconds.compute += since();
        break;
      case Kind::kAddSlot:
        add_slot(instruction);
        outcome_.seconds.compute += since();
        break;
      case Kind::kReduceScatter:
        act("reduce_scatter gradients");
        reduce_scatter();
        outcome_.seconds.reduce += since();
        break;
      case Kind::kAllReduceNorm:
        act("all_reduce norm");
        all_reduce_norm(request);
        outcome_.seconds.reduce += since();
        break;
      case Kind::kUpdate:
        act("update");
        update();
        outcome_.seconds.update += since();
        break;
      case Kind::kAllGather:
        act("all_gather weights");
        all_gather();
        outcome_.seconds.gather += since();
        break;
    }
  }
  request.buffers->apply(communicator_, memory_, program_.num_microbatches);
  return outcome_;
}

void Interpreter::barrier() {
  Stopwatch watch;
  communicator_.barrier();
  outcome_.seconds.wait += watch.lap();
}

void Interpreter::compute(const Instruction& instruction, const StepRequest& request) {
  const std::vector<at::Tensor> inputs =
      bind_inputs(*request.graph, memory_, request.batch(instruction.microbatch));
  const auto place_of = [&](int output) {
    const auto [p, c] = contribution_of_output_.at(static_cast<size_t>(output) - 1);
    const auto& contribution = storage_.parameters[p].contributions[c];
    return std::pair(memory_.slot(instruction.slot) + contribution.offset,
                     instruction.widen ? comm::DType::kF32 : contribution.dtype);
  };
  Executor::Run run;
  run.inputs = inputs;
  run.random = {request.seed, request.step, instruction.microbatch};
  run.placement = [&](int output) -> void* {
    if (output == 0 || instruction.accumulate || request.buffers->observes(output)) return nullptr;
    const auto [place, dtype] = place_of(output);
    const auto [p, c] = contribution_of_output_[static_cast<size_t>(output) - 1];
    return dtype == storage_.parameters[p].contributions[c].dtype ? place : nullptr;
  };
  run.sink = [&](int output, const at::Tensor& tensor) {
    if (output == 0) {
      memory_.loss(instruction.microbatch) = tensor.item<double>();
      return;
    }
    if (request.buffers->observes(output)) {
      request.buffers->observe(instruction.microbatch, output, tensor);
      return;
    }
    const auto [place, dtype] = place_of(output);
    if (tensor.const_data_ptr() == place) return;
    if (instruction.accumulate) {
      const at::Tensor dense = tensor.contiguous();
      const auto from = dense.scalar_type() == at::kBFloat16 ? comm::DType::kBF16 : comm::DType::kF32;
      comm::add_into({reinterpret_cast<float*>(place), static_cast<size_t>(dense.numel())},
                     static_cast<const std::byte*>(dense.const_data_ptr()), from);
    } else {
      at::from_blob(place, tensor.sizes(),
                    at::TensorOptions().dtype(dtype == comm::DType::kBF16 ? at::kBFloat16 : at::kFloat))
          .copy_(tensor);
    }
  };
  request.executor->run(run);
}

void Interpreter::add_slot(const Instruction& instruction) {
  for (const lower::StoredParameter& parameter : storage_.parameters)
    for (const auto& contribution : parameter.contributions)
      comm::add_into({reinterpret_cast<float*>(memory_.slot(instruction.slot) + contribution.offset),
                      static_cast<size_t>(parameter.numel)},
                     memory_.slot(instruction.from) + contribution.offset, comm::DType::kF32);
}

void Interpreter::reduce_scatter() {
  barrier();
  std::vector<double> losses(static_cast<size_t>(program_.num_microbatches));
  for (int rank = 0; rank < program_.size; ++rank) {
    const Range held = share(program_.num_microbatches, program_.size, rank);
    for (int64_t m = held.begin; m < held.end; ++m)
      losses[static_cast<size_t>(m)] = memory_.read_loss(rank, m);
    outcome_.stop |= memory_.read_stop(rank) != 0;
  }
  outcome_.loss = static_cast<float>(comm::tree_sum(losses) / static_cast<double>(program_.num_microbatches));
  for (OwnedPiece& owned : memory_.owned())
    for (int64_t begin = owned.piece.elements.begin; begin < owned.piece.elements.end;
         begin += kBlockElements)
      reduce_block(owned, {begin, std::min(begin + kBlockElements, owned.piece.elements.end)});
}

// The block's gradient: each contribution summed over the tree, then the contributions in captured order; and
// its sum of squares.
void Interpreter::reduce_block(OwnedPiece& owned, Range elements) {
  const lower::StoredParameter& parameter = storage_.parameters[owned.piece.parameter];
  const auto count = static_cast<size_t>(elements.size());
  const std::span<float> gradient(
      owned.gradient.mutable_data_ptr<float>() + (elements.begin - owned.piece.elements.begin), count);
  for (size_t c = 0; c < parameter.contributions.size(); ++c) {
    const auto& contribution = parameter.contributions[c];
    std::vector<comm::Root> roots;
    for (size_t r = 0; r < program_.roots.size(); ++r) {
      const lower::SlotRoot& root = program_.roots[r];
      const comm::DType dtype = root.is_leaf() ? contribution.dtype : comm::DType::kF32;
      const auto width = static_cast<int64_t>(comm::element_bytes(dtype));
      roots.push_back({root.microbatches,
                       memory_.read_slot(root.rank, root.slot, contribution.offset + elements.begin * width,
                                         count * static_cast<size_t>(width), scratch_[r]),
                       dtype});
    }
    if (c == 0) {
      const bool in_place =
          roots.size() == 1 && roots[0].data == reinterpret_cast<const std::byte*>(gradient.data());
      if (!in_place) comm::sum_roots(program_.num_microbatches, roots, gradient);
    } else {
      sum_.resize(count);
      comm::sum_roots(program_.num_microbatches, roots, sum_);
      comm::add_into(gradient, reinterpret_cast<const std::byte*>(sum_.data()), comm::DType::kF32);
    }
  }
  memory_.square(parameter.first_block + elements.begin / kBlockElements) = comm::sum_of_squares(gradient);
}

void Interpreter::all_reduce_norm(const StepRequest& request) {
  barrier();
  std::vector<double> squares(static_cast<size_t>(storage_.num_blocks));
  for (int rank = 0; rank < program_.size; ++rank) {
    for (const lower::Piece& piece : memory_.pieces_of(rank)) {
      const int64_t first = storage_.parameters[piece.parameter].first_block;
      for (int64_t block = first + piece.elements.begin / kBlockElements;
           block < first + num_blocks(piece.elements.end); ++block) {
        const double square = memory_.read_square(rank, block);
        if (!std::isfinite(square))
          throw JobError(
              cat("step ", request.step, " - gradient of ", storage_.parameters[piece.parameter].name,
                  ": got ", square > 0 ? "an infinite" : "a NaN", " value, loss ", outcome_.loss,
                  "; the weights are those of the step before, try a smaller learning rate or clip_norm"));
        squares[static_cast<size_t>(block)] = square;
      }
    }
  }
  const auto count = static_cast<double>(program_.num_microbatches);
  outcome_.grad_norm = std::sqrt(comm::tree_sum(squares)) / count;
  const double clip =
      request.clip_norm > 0 ? std::min(1.0, request.clip_norm / (outcome_.grad_norm + 1e-6)) : 1.0;
  divisor_ = static_cast<float>(count / clip);
}

void Interpreter::update() {
  update_(memory_.owned(), divisor_);
  memory_.publish_masters();
}

void Interpreter::all_gather() {
  barrier();
  memory_.gather_weights();
}

}  // namespace shoal::run
