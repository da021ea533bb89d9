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
                                    const Externals& externals, const std::vector<at::Tensor>& batch) {
  std::vector<at::Tensor> inputs;
  size_t next = 0;
  for (const graph::Input& input : graph.inputs) {
    switch (input.kind) {
      case graph::InputKind::kParameter:
      case graph::InputKind::kBuffer:
        inputs.push_back(memory.value(input.name, input.part));
        break;
      case graph::InputKind::kBatch:
        inputs.push_back(batch.at(next++));
        break;
      case graph::InputKind::kConstant:
        inputs.emplace_back();
        break;
      case graph::InputKind::kExternal:
        inputs.push_back(externals.value(inputs.size()));
        break;
    }
  }
  return inputs;
}

std::function<at::Tensor(size_t)> gather_inputs(const graph::Graph& graph, DeviceMemory& memory) {
  return [&](size_t index) -> at::Tensor {
    const graph::Input& input = graph.inputs[index];
    const auto unit = memory.storage().find(input.name, input.part);
    return unit ? memory.gather(*unit) : at::Tensor();
  };
}

Interpreter::Interpreter(comm::Group& world, const lower::Program& program, DeviceMemory& memory,
                         Update update)
    : world_(world),
      program_(program),
      memory_(memory),
      storage_(memory.storage()),
      update_(std::move(update)),
      scratch_(program.roots.size()) {
  if (memory.ownership().shards_gradients()) stream_.emplace(world, memory);
}

int64_t Interpreter::buffer_bytes() const {
  return stream_ ? stream_->window_bytes() + stream_->largest_gradient_bytes() : 0;
}

StepOutcome Interpreter::run(const StepRequest& request) {
  outcome_ = {};
  request.buffers->clear();
  const Traffic before = memory_.traffic();
  memory_.stop() = request.stop ? 1 : 0;
  for (const Instruction& instruction : program_.instructions) {
    Stopwatch watch;
    const StepSeconds start = outcome_.seconds;
    const auto since = [&] {  // without what was noted elsewhere meanwhile
      const StepSeconds& now = outcome_.seconds;
      return watch.lap() - (now.wait - start.wait) - (now.reduce - start.reduce) -
             (now.gather - start.gather);
    };
    const auto act = [&](std::string_view what) {
      world_.communicator().set_activity(cat("step ", request.step, ": ", what));
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
      case Kind::kRound:
        act(instruction.microbatch == lower::kIdle ? std::string("reduce_scatter gradients")
                                                   : cat("compute microbatch ", instruction.microbatch));
        round(instruction, request);
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
      case Kind::kAllGatherGradients:
        act("all_gather gradients");
        all_gather_gradients();
        outcome_.seconds.gather += since();
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
  request.buffers->apply(world_, memory_, program_.num_microbatches);
  const Traffic& now = memory_.traffic();
  outcome_.traffic = {now.gradients - before.gradients, now.weights - before.weights,
                      now.boards - before.boards};
  return outcome_;
}

void Interpreter::barrier() {
  Stopwatch watch;
  world_.barrier();
  outcome_.seconds.wait += watch.lap();
}

// Outputs of the graph (graph::outputs): the loss, then gradients, then what buffer updates observe.
void Interpreter::run_microbatch(int64_t microbatch, const StepRequest& request,
                                 const Arena::Placement& placement, const GradientSink& take) {
  const std::vector<at::Tensor> inputs = bind_inputs(*request.graph, memory_, *request.externals, request.batch(microbatch));
  const size_t first = request.graph->results.size(), count = request.contributions->size();
  const auto is_gradient = [&](int output) {
    const auto index = static_cast<size_t>(output);
    return index >= first && index < first + count;
  };
  Executor::Run run;
  run.inputs = inputs;
  run.fetch = [this, gather = gather_inputs(*request.graph, memory_)](size_t input) {
    Stopwatch watch;
    at::Tensor value = gather(input);
    outcome_.seconds.gather += watch.lap();
    return value;
  };
  run.random = {request.seed, request.step, microbatch};
  run.placement = [&](int output) -> void* {
    return placement && is_gradient(output) ? placement(output - static_cast<int>(first)) : nullptr;
  };
  run.sink = [&](int output, const at::Tensor& tensor) {
    if (output == 0)
      memory_.loss(microbatch) = tensor.item<double>();
    else if (is_gradient(output))
      take(static_cast<size_t>(output) - first, tensor);
    else
      request.buffers->observe(microbatch, output, tensor);
  };
  run.exchanger = request.exchanger;
  request.executor->run(run);
}

void Interpreter::compute(const Instruction& instruction, const StepRequest& request) {
  const auto kernel_dtype = [&](size_t contribution) {
    const auto [unit, index] = request.contributions->at(contribution);
    return storage_.units[unit].contributions[index];
  };
  const auto place_of = [&](size_t contribution) {
    const auto [unit, index] = request.contributions->at(contribution);
    return std::pair(memory_.slot(instruction.slot, unit, index),
                     instruction.widen ? comm::DType::kF32 : kernel_dtype(contribution));
  };
  // A gradient that is stored as its kernel leaves it is made in its slot.
  const auto placement = [&](int contribution) -> void* {
    if (instruction.accumulate) return nullptr;
    const auto [place, dtype] = place_of(static_cast<size_t>(contribution));
    return dtype == kernel_dtype(static_cast<size_t>(contribution)) ? place : nullptr;
  };
  run_microbatch(
      instruction.microbatch, request, placement, [&](size_t contribution, const at::Tensor& tensor) {
        const auto [place, dtype] = place_of(contribution);
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
      });
}

void Interpreter::round(const Instruction& instruction, const StepRequest& request) {
  stream_->begin(instruction, *request.buckets);
  if (instruction.microbatch != lower::kIdle)
    run_microbatch(instruction.microbatch, request, {}, [&](size_t contribution, const at::Tensor& tensor) {
      stream_->put(contribution, tensor);
    });
  stream_->finish();
  const auto [wait, reduce] = stream_->take_seconds();
  outcome_.seconds.wait += wait;
  outcome_.seconds.reduce += reduce;
}

void Interpreter::add_slot(const Instruction& instruction) {
  for (size_t u : memory_.ownership().held(memory_.rank()))
    for (size_t c = 0; c < storage_.units[u].contributions.size(); ++c)
      comm::add_into({reinterpret_cast<float*>(memory_.slot(instruction.slot, u, c)),
                      static_cast<size_t>(storage_.units[u].numel)},
                     memory_.slot(instruction.from, u, c), comm::DType::kF32);
}

// Each block of this rank's share: every contribution summed over the tree, then the contributions in
// captured order; and its sum of squares.
void Interpreter::reduce_scatter() {
  barrier();
  losses_.clear();
  for (int64_t m = 0; m < program_.num_microbatches; ++m)
    losses_.push_back(memory_.read_loss(program_.teller(m), m));
  for (int rank = 0; rank < world_.size(); ++rank) outcome_.stop |= memory_.read_stop(rank) != 0;
  outcome_.loss =
      static_cast<float>(comm::tree_sum(losses_) / static_cast<double>(program_.num_microbatches));

  for (const auto& [u, share] : memory_.ownership().share(memory_.rank())) {
    const lower::Unit& unit = storage_.units[u];
    for (int64_t begin = share.begin; begin < share.end; begin += kBlockElements) {
      const Range elements{begin, std::min(begin + kBlockElements, share.end)};
      const std::span<float> gradient = memory_.gradient(u, elements);
      if (!stream_) sum_roots(u, 0, elements, gradient);
      for (size_t c = 1; c < unit.contributions.size(); ++c) {
        const float* addend;
        if (stream_) {
          addend = memory_.partial(0, memory_.owner_of(u, elements), c, elements.begin);
        } else {
          sum_.resize(gradient.size());
          sum_roots(u, c, elements, sum_);
          addend = sum_.data();
        }
        comm::add_into(gradient, reinterpret_cast<const std::byte*>(addend), comm::DType::kF32);
      }
      memory_.square(unit.first_block + begin / kBlockElements) = comm::sum_of_squares(gradient);
    }
  }
}

// One contribution's sum over all microbatches, from the roots where they lie.
void Interpreter::sum_roots(size_t u, size_t contribution, Range elements, std::span<float> into) {
  std::vector<comm::Root> roots;
  for (size_t r = 0; r < program_.roots.size(); ++r) {
    const lower::SlotRoot& root = program_.roots[r];
    const comm::DType dtype =
        root.in_fp32 ? comm::DType::kF32 : storage_.units[u].contributions[contribution];
    roots.push_back(
        {root.microbatches, memory_.read_root(root, u, contribution, elements, dtype, scratch_[r]), dtype});
  }
  if (roots.size() == 1 && roots[0].data == reinterpret_cast<const std::byte*>(into.data())) return;
  comm::sum_roots(program_.num_microbatches, roots, into);
}

void Interpreter::all_reduce_norm(const StepRequest& request) {
  barrier();
  std::vector<double> squares(static_cast<size_t>(storage_.num_blocks));
  for (size_t u = 0; u < storage_.units.size(); ++u) {
    const lower::Unit& unit = storage_.units[u];
    for (const auto& [rank, elements] : memory_.ownership().sharers(u)) {
      for (int64_t block = unit.first_block + elements.begin / kBlockElements;
           block < unit.first_block + num_blocks(elements.end); ++block) {
        const double square = memory_.read_square(rank, block);
        if (!std::isfinite(square))
          throw NotFinite(
              cat("step ", request.step, " - gradient of ", unit.parameter, ": got ",
                  square > 0 ? "an infinite" : "a NaN", " value, loss ", outcome_.loss,
                  "; the weights are those of the step before, try a smaller learning rate or clip_norm"));
        squares[static_cast<size_t>(block)] = square;
      }
    }
  }
  check_losses(request);
  const auto count = static_cast<double>(program_.num_microbatches);
  outcome_.grad_norm = std::sqrt(comm::tree_sum(squares)) / count;
  const double clip =
      request.clip_norm > 0 ? std::min(1.0, request.clip_norm / (outcome_.grad_norm + 1e-6)) : 1.0;
  divisor_ = static_cast<float>(count / clip);
}

// A loss may be not finite although all gradients are: a mean over nothing.
void Interpreter::check_losses(const StepRequest& request) const {
  constexpr size_t kTold = 8;
  std::vector<int64_t> bad;
  for (size_t m = 0; m < losses_.size(); ++m)
    if (!std::isfinite(losses_[m])) bad.push_back(static_cast<int64_t>(m));
  if (bad.empty()) return;
  const bool nan = std::isnan(losses_[static_cast<size_t>(bad[0])]);
  const size_t more = bad.size() - std::min(bad.size(), kTold);
  bad.resize(bad.size() - more);
  throw NotFinite(
      cat("step ", request.step, " - loss of microbatch ", join(bad, ", "),
          more > 0 ? cat(" and ", more, " more") : std::string(), ": got ", nan ? "a NaN" : "an infinite",
          " value, though every gradient is finite; the weights are those of the step before. A mean "
          "over no elements gives this (every target of the microbatch is ignored): divide a sum by a "
          "count that is never 0"));
}

// The barrier comes last: the next step's gradients go where peers still read the sums.
void Interpreter::all_gather_gradients() {
  memory_.gather_gradients();
  barrier();
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
