#include "run/interpreter.h"

#include <utility>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

using Kind = lower::Instruction::Kind;

// What frames hold is let go, whatever happens.
struct EndRun {
  Execution& execution;
  bool is_whole = false;
  ~EndRun() { execution.end_run(is_whole); }
};

}  // namespace

double& StepSeconds::of(Part part) {
  switch (part) {
    case Part::kReduce:
      return reduce;
    case Part::kUpdate:
      return update;
    case Part::kGather:
      return gather;
    case Part::kWait:
      return wait;
    case Part::kCompute:
      break;
  }
  return compute;
}

Interpreter::Interpreter(comm::Group& world, DeviceMemory& memory, Update update)
    : world_(world), memory_(memory), update_(std::move(update)), sums_(world, memory, waits_) {}

StepOutcome Interpreter::run(Execution& execution, const Request& request) {
  const bool shows_numbers = execution.program.find(lower::Buffer::Kind::kBoard) != nullptr;
  Now now{execution, request, execution.program, shows_numbers};
  outcome_ = {};
  execution.buffers.clear();
  const Traffic before = memory_.traffic();
  if (shows_numbers) memory_.stop() = request.stop ? 1 : 0;
  if (exchanger_) exchanger_->begin(execution.local);
  microbatch_.assign(execution.num_frames(), -1);
  execution.begin_run();
  EndRun at_last{execution};
  if (request.trace) request.trace->begin(request.step, execution);
  for (const Instruction& instruction : now.program.instructions) {
    waits_.clear();
    const Clock::time_point begin = Clock::now();
    execute(instruction, now);
    const Clock::time_point end = Clock::now();
    const double waited = waits_.total_seconds();
    outcome_.seconds.wait += waited;
    outcome_.seconds.of(part_of(instruction.kind)) += seconds(end - begin) - waited;
    if (request.trace) request.trace->add(begin, end, waits_);
  }
  at_last.is_whole = true;
  const Traffic& after = memory_.traffic();
  outcome_.traffic = {after.gradients - before.gradients, after.weights - before.weights,
                      after.boards - before.boards};
  return outcome_;
}

void Interpreter::execute(const Instruction& i, Now& now) {
  switch (i.kind) {
    case Kind::kLoad:
      return load(i, now);
    case Kind::kRun:
      return run_segment(i, now);
    case Kind::kFetch:
      return fetch(i, now);
    case Kind::kExchange:
      return exchange(i, now);
    case Kind::kSend:
      return send(i, now);
    case Kind::kReceive:
      return receive(i, now);
    case Kind::kFree:
      now.execution.frame(i.frame).end();
      return now.execution.transfers.release();
    case Kind::kAdd:
      return add(i, now);
    case Kind::kBegin:
      return begin(i, now);
    case Kind::kReduceScatter:
      return sum(i, now);
    case Kind::kAllReduce:
      return all_reduce(i, now);
    case Kind::kAllGather:
      return all_gather(i, now);
    case Kind::kUpdate:
      act(now, "update");
      update_(memory_.owned(), divisor_);
      return memory_.publish_masters();
    case Kind::kReplay:
      return now.execution.buffers.apply(world_, memory_, now.program.num_microbatches);
    case Kind::kBarrier:
      return meet(i);
  }
}

void Interpreter::act(const Now& now, std::string_view what) const {
  if (now.shows_numbers)
    world_.communicator().set_activity(cat("step ", now.request.step, ": ", what));
}

void Interpreter::meet(const Instruction& i) {
  if (i.group != 0) throw JobError("interpreter - group: a barrier is the world's");
  waits_.note(Wait::kAll, [&] { world_.barrier(); });
}

void Interpreter::load(const Instruction& i, Now& now) {
  act(now, cat("compute microbatch ", i.microbatch));
  microbatch_.at(static_cast<size_t>(i.frame)) = i.microbatch;
  const std::vector<at::Tensor> inputs =
      bind_inputs(now.execution.local.graph, memory_, now.execution.externals, now.request.batch(i.microbatch));
  kernels::RandomKey random = now.request.random;
  random.microbatch += i.microbatch;
  now.execution.frame(i.frame).begin({.inputs = inputs, .random = random});
}

// Outputs of the graph (graph::outputs): the loss, then gradients, then what buffer updates observe.
void Interpreter::run_segment(const Instruction& i, Now& now) {
  Execution& execution = now.execution;
  const int64_t microbatch = microbatch_.at(static_cast<size_t>(i.frame));
  const auto first = static_cast<int>(execution.local.graph.results.size()),
             end = first + static_cast<int>(execution.contributions.size());
  const auto target = [&](int output) -> const lower::Contribution& {
    return execution.contributions[static_cast<size_t>(output - first)];
  };
  const auto take = [&](int output, const at::Tensor& tensor) {
    if (output < first) {
      if (now.request.result) return now.request.result(tensor);
      if (tensor.numel() != 1)
        throw InputError(cat("loss - shape: got [", join(tensor.sizes(), ","), "] in eval mode, want a scalar"));
      const double loss = tensor.item<double>();
      if (now.shows_numbers)
        memory_.loss(microbatch) = loss;
      else
        outcome_.loss = loss;
    } else if (output >= end) {
      execution.buffers.observe(microbatch, output, tensor);
    } else if (i.accumulator >= 0) {
      sums_.store(i.accumulator, target(output), tensor, i.adds, i.widens);
    }  // else a bucket takes it
  };
  const auto place = [&](int output) -> void* {
    if (output < first || output >= end || i.accumulator < 0) return nullptr;
    return sums_.place_of(i.accumulator, target(output), i.adds, i.widens);
  };
  const lower::Segment& segment = now.program.segments.at(static_cast<size_t>(i.index));
  execution.frame(i.frame).run(segment.nodes, take, place);
}

void Interpreter::fetch(const Instruction& i, Now& now) {
  const lower::FetchOperands& fetch = now.program.fetches.at(static_cast<size_t>(i.index));
  Frame& frame = now.execution.frame(i.frame);
  const Arena::Scope scope = frame.scope();
  const at::Tensor value = memory_.gather(static_cast<size_t>(fetch.unit));
  frame.define(fetch.node, std::span(&value, 1));
}

void Interpreter::exchange(const Instruction& i, Now& now) {
  const lower::ExchangeOperands& exchange = now.program.exchanges.at(static_cast<size_t>(i.index));
  Frame& frame = now.execution.frame(i.frame);
  const Arena::Scope scope = frame.scope();
  const graph::Node& node = now.execution.local.graph.nodes[exchange.node];
  const auto number = static_cast<size_t>(std::get<int64_t>(node.arguments[1]));  // among those of all stages
  frame.define(exchange.node, exchanger_->exchange(frame.arguments(exchange.node), number, waits_));
}

void Interpreter::send(const Instruction& i, Now& now) {
  const auto index = static_cast<size_t>(i.index);
  Frame& frame = now.execution.frame(i.frame);
  const size_t node = now.program.transfers.at(index).node;
  now.execution.transfers.send(index, frame.arguments(node), waits_);
  frame.define(node, {});
}

void Interpreter::receive(const Instruction& i, Now& now) {
  const auto index = static_cast<size_t>(i.index);
  act(now, cat("wait for rank ", now.program.transfers.at(index).peer, ", microbatch ",
               microbatch_.at(static_cast<size_t>(i.frame))));
  now.execution.frame(i.frame).define(now.program.transfers.at(index).node, now.execution.transfers.receive(index, waits_));
  act(now, cat("compute microbatch ", microbatch_.at(static_cast<size_t>(i.frame))));
}

void Interpreter::add(const Instruction& i, Now& now) {
  if (i.index < 0) return sums_.add(i.accumulator, i.from, now.execution.contributions);
  std::vector<lower::Contribution> given;
  for (const int segment : now.program.blocks.at(static_cast<size_t>(i.index)).segments)
    for (const int output : now.program.segments.at(static_cast<size_t>(segment)).gradients)
      given.push_back(now.execution.contributions.at(static_cast<size_t>(output)));
  sums_.add(i.accumulator, i.from, given);
}

void Interpreter::begin(const Instruction& i, Now& now) {
  const lower::Bucket& bucket = now.program.buckets.at(static_cast<size_t>(i.index));
  if (i.frame < 0) {
    if (i.index == 0) act(now, "reduce_scatter gradients");
    sums_.begin(bucket, nullptr);
  } else {
    Frame& frame = now.execution.frame(i.frame);
    const Arena::Scope scope = frame.scope();
    std::vector<at::Tensor> gradients;
    for (const lower::BucketItem& item : bucket) {
      if (!frame.value(item.value).is_contiguous()) frame.replace(item.value, frame.value(item.value).contiguous());
      gradients.push_back(frame.value(item.value));
    }
    sums_.begin(bucket, &gradients);
    gradients.clear();
    for (const lower::BucketItem& item : bucket)
      if (item.drops) frame.drop(item.value);
  }
}

void Interpreter::sum(const Instruction& i, Now& now) {
  if (i.index >= 0) {
    sums_.sum_begun(now.program.buckets.at(static_cast<size_t>(i.index)), static_cast<int>(i.round.size()), i.sums);
    return;
  }
  act(now, "reduce_scatter gradients");
  if (i.group >= 0) meet(i);
  sums_.sum_share(i.sums.at(0));
}

void Interpreter::all_reduce(const Instruction& i, Now& now) {
  act(now, "all_reduce norm");
  meet(i);
  const Norm norm = read_norm(memory_, now.program, now.request.step, now.request.clip_norm);
  outcome_.loss = norm.loss;
  outcome_.grad_norm = norm.grad_norm;
  outcome_.stop = norm.stop;
  divisor_ = norm.divisor;
}

void Interpreter::all_gather(const Instruction& i, Now& now) {
  const bool sums = i.gathered == lower::Buffer::Kind::kSum;
  act(now, sums ? "all_gather gradients" : "all_gather weights");
  meet(i);
  sums ? memory_.gather_gradients() : memory_.gather_weights();
}

}  // namespace shoal::run
