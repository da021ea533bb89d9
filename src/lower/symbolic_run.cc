#include "lower/symbolic_run.h"

#include <algorithm>
#include <tuple>

#include "base/text.h"

namespace shoal::lower {

using Kind = Instruction::Kind;

namespace {

constexpr int kSteps = 2;

}  // namespace

SymbolicRun::SymbolicRun(const std::vector<Program>& programs) : programs_(programs), order_(programs.size()) {
  std::map<std::pair<std::string, std::vector<int>>, int> groups;  // by name and ranks
  for (const Program& program : programs) {
    SymbolicDevice device{.program = &program, .rank = program.rank, .role = mesh::role_of(program.layout, program.rank)};
    for (const int rank : program.peers) device.weights[rank] = 0;
    device.weights[program.rank] = 0;
    for (const Segment& segment : program.segments) {
      device.made.insert(segment.writes.begin(), segment.writes.end());
      device.contributions.insert(segment.gradients.begin(), segment.gradients.end());
      observes_ |= segment.observes;
    }
    for (const ExchangeOperands& exchange : program.exchanges)
      device.made.insert(exchange.receives.begin(), exchange.receives.end());
    for (const FetchOperands& fetch : program.fetches) device.made.insert(fetch.value);
    for (const TransferOperands& transfer : program.transfers)
      if (!transfer.sends) device.made.insert(transfer.values.begin(), transfer.values.end());
    device.messages.resize(program.transfers.size());
    for (const RankGroup& group : program.groups)
      device.groups.push_back(
          groups.try_emplace({group.name, group.ranks}, static_cast<int>(groups.size())).first->second);
    devices_.push_back(std::move(device));
  }
}

void SymbolicRun::run() {
  const bool trains = programs_[0].name == "training";
  for (int step = 0; step < kSteps; ++step) {
    for (SymbolicDevice& device : devices_) begin_step(device);
    run_step();
    for (SymbolicDevice& device : devices_) end_step(device, trains);
    if (trains) check_all_computed();
  }
}

void SymbolicRun::fail(const SymbolicDevice& device, const std::string& what) {
  fail_check(*device.program, device.next, what);
}

void SymbolicRun::begin_step(SymbolicDevice& device) {
  device.next = 0;
  device.losses.clear();
  device.loaded.clear();
  device.observed.clear();
  device.has_sum = device.has_squares = device.has_norm = device.is_updated = device.is_replayed = false;
  device.sum_is_gathered = device.weights_are_gathered = false;
  if (device.program->find(Buffer::Kind::kBoard)) write(device, Buffer::Kind::kBoard, 0, kLosses);
}

void SymbolicRun::run_step() {
  for (bool all_done = false; !all_done;) {
    bool goes_on = false;
    all_done = true;
    for (SymbolicDevice& device : devices_) {
      while (device.next < device.program->instructions.size() && execute(device)) {
        device.entered = false;
        ++device.next;
        goes_on = true;
      }
      all_done &= device.next == device.program->instructions.size();
    }
    if (all_done || goes_on) continue;
    for (SymbolicDevice& device : devices_)
      if (device.next < device.program->instructions.size()) fail(device, "it waits for ever");
  }
}

void SymbolicRun::end_step(SymbolicDevice& device, bool trains) {
  for (const auto& [number, frame] : device.frames)
    if (frame.microbatch >= 0) fail(device, cat("frame ", number, " still has microbatch ", frame.microbatch));
  if (device.num_summed != std::ssize(device.begun)) fail(device, "a bucket that was begun is not summed");
  if (!trains) return;
  for (const auto& [number, parts] : device.accumulators)
    for (const auto& [part, partial] : parts)
      if (!partial.is_used) fail(device, cat("accumulator ", number, " has a sum that nobody used"));
  if (!device.is_updated) fail(device, "the weights are not updated");
  if (gathers_weights(device) && !device.weights_are_gathered) fail(device, "the weights of others are not gathered");
  ++device.step;
  for (const auto& [rank, step] : device.weights)
    if (keeps(device, rank) && step != device.step) fail(device, cat("the weights of rank ", rank, " are old"));
  if (observes_ && !device.is_replayed) fail(device, "buffers that forward changes are not replayed");
}

void SymbolicRun::check_all_computed() {
  std::map<std::tuple<int, int, int64_t>, int> times;
  for (const SymbolicDevice& device : devices_)
    for (const int64_t m : device.loaded) ++times[{device.role.pp, device.role.tp, m}];
  const Program& first = programs_[0];
  for (int pp = 0; pp < first.layout.pp; ++pp)
    for (int tp = 0; tp < first.layout.tp; ++tp)
      for (int64_t m = 0; m < first.num_microbatches; ++m)
        if (const int count = times[{pp, tp, m}]; count != 1)
          fail(at(mesh::rank_of(first.layout, pp, first.dealt.at(static_cast<size_t>(m)), tp)),
               cat("microbatch ", m, " is computed ", count, " times"));
}

void SymbolicRun::write(SymbolicDevice& device, Buffer::Kind kind, int number, int part) {
  if (const auto reader = order_.write({device.rank, kind, number, part}))
    fail(device, cat("rank ", *reader, " may still read what it writes over"));
}

void SymbolicRun::read(SymbolicDevice& device, int from, Buffer::Kind kind, int number, int part) {
  if (!order_.read(device.rank, {from, kind, number, part}))
    fail(device, cat("rank ", from, " may not have written yet what it reads there"));
}

const std::vector<int>& SymbolicRun::members(const SymbolicDevice& device, const Instruction& i) const {
  return device.program->groups[static_cast<size_t>(i.group)].ranks;
}

bool SymbolicRun::meet(SymbolicDevice& device, const Instruction& i, int64_t microbatch) {
  if (!device.entered) {
    ++device.calls[i.group];
    order_.post(device.rank, meeting(device, i), microbatch);
    device.entered = true;
  }
  return std::ranges::all_of(members(device, i), [&](int rank) { return order_.await(device.rank, rank, meeting(device, i)); });
}

SymbolicRun::Event SymbolicRun::meeting(const SymbolicDevice& device, const Instruction& i) const {
  return {Event::Kind::kMeet, group_of(device, i), device.calls.at(i.group)};
}

bool SymbolicRun::execute(SymbolicDevice& device) {
  const Instruction& i = device.program->instructions[device.next];
  order_.tick(device.rank);
  switch (i.kind) {
    case Kind::kLoad:
      return load(device, i);
    case Kind::kRun:
      return run_segment(device, i);
    case Kind::kFetch:
      return fetch(device, i);
    case Kind::kExchange:
      return exchange(device, i);
    case Kind::kSend:
      return send(device, i);
    case Kind::kReceive:
      return receive(device, i);
    case Kind::kFree:
      return free_frame(device, i);
    case Kind::kAdd:
      return add(device, i);
    case Kind::kBegin:
      return begin(device, i);
    case Kind::kReduceScatter:
      return i.index >= 0 ? sum_bucket(device, i) : sum_shard(device, i);
    case Kind::kAllReduce:
      return all_reduce(device, i);
    case Kind::kAllGather:
      return all_gather(device, i);
    case Kind::kUpdate:
      return update(device);
    case Kind::kReplay:
      return replay(device, i);
    case Kind::kBarrier:
      return meet(device, i);
  }
  return true;
}

SymbolicFrame& SymbolicRun::loaded_frame(SymbolicDevice& device, const Instruction& i) {
  SymbolicFrame& frame = device.frames[i.frame];
  if (frame.microbatch < 0) fail(device, "the frame has no microbatch");
  return frame;
}

void SymbolicRun::take(SymbolicDevice& device, SymbolicFrame& frame, graph::ValueId id) {
  if (!frame.values.contains(id)) fail(device, cat("it reads %", id, ", which is not there"));
}

void SymbolicRun::make(SymbolicDevice& device, SymbolicFrame& frame, graph::ValueId id) {
  if (!frame.values.insert(id).second) fail(device, cat("it makes %", id, ", which is there"));
}

void SymbolicRun::once(SymbolicDevice& device, SymbolicFrame& frame, std::set<int>& done, const Instruction& i) {
  if (!done.insert(i.index).second) fail(device, "it has run already");
  frame.order.emplace_back(i.kind, i.index);
}

bool SymbolicRun::load(SymbolicDevice& device, const Instruction& i) {
  SymbolicFrame& frame = device.frames[i.frame];
  if (frame.microbatch >= 0) fail(device, cat("the frame still has microbatch ", frame.microbatch));
  if (!device.role.computes) fail(device, "a server computes a microbatch");
  if (!device.loaded.insert(i.microbatch).second) fail(device, "the microbatch is computed twice");
  if (device.program->dealt.at(static_cast<size_t>(i.microbatch)) != device.role.dp)
    fail(device, "the microbatch is another device's");
  frame = {.microbatch = i.microbatch};
  return true;
}

bool SymbolicRun::run_segment(SymbolicDevice& device, const Instruction& i) {
  const Segment& segment = device.program->segments[static_cast<size_t>(i.index)];
  SymbolicFrame& frame = loaded_frame(device, i);
  once(device, frame, frame.segments, i);
  if (!segment.parameters.empty())
    for (const auto& [rank, step] : device.weights)
      if (keeps(device, rank) && step != device.step) fail(device, cat("the weights of rank ", rank, " are of another step"));
  for (const graph::ValueId id : segment.reads)
    if (device.made.contains(id)) take(device, frame, id);
  for (const graph::ValueId id : segment.writes) make(device, frame, id);
  for (const graph::ValueId id : segment.drops) frame.values.erase(id), device.received.erase(id);
  if (segment.makes_loss) {
    if (!device.losses.insert(frame.microbatch).second) fail(device, "the loss is there already");
    if (device.program->find(Buffer::Kind::kBoard)) write(device, Buffer::Kind::kBoard, 0, kLosses);
  }
  if (segment.observes) device.observed.insert(frame.microbatch);
  if (segment.gradients.empty()) {
    if (i.accumulator != -1) fail(device, "it has no gradient for an accumulator");
    return true;
  }
  for (const int contribution : segment.gradients) store(device, i, contribution, frame.microbatch);
  for (const int part : parts(device)) write(device, Buffer::Kind::kAccumulator, i.accumulator, part);
  return true;
}

void SymbolicRun::store(SymbolicDevice& device, const Instruction& i, int contribution, int64_t microbatch) {
  auto& held = device.accumulators[i.accumulator];
  const auto found = held.find(contribution);
  const Range leaf{microbatch, microbatch + 1};
  if (!i.adds) {
    if (found != held.end() && !found->second.is_used)
      fail(device, cat("accumulator ", i.accumulator, " is overwritten before it is read"));
    held[contribution] = {leaf, i.widens};
    return;
  }
  if (i.widens) fail(device, "what is added is not stored");
  if (found == held.end() || found->second.is_used || !found->second.in_fp32 ||
      !are_siblings(device.program->num_microbatches, found->second.microbatches, leaf))
    fail(device, cat("microbatch ", microbatch, " is added out of the tree's order"));
  found->second.microbatches.end = leaf.end;
}

bool SymbolicRun::fetch(SymbolicDevice& device, const Instruction& i) {
  const FetchOperands& fetch = device.program->fetches[static_cast<size_t>(i.index)];
  SymbolicFrame& frame = loaded_frame(device, i);
  once(device, frame, frame.fetches, i);
  for (const int rank : device.program->peers) {
    if (rank == device.rank) continue;
    read(device, rank, Buffer::Kind::kWeights, 0, rank);
    if (at(rank).weights.at(rank) != device.step) fail(device, cat("the weights of rank ", rank, " are of another step"));
  }
  make(device, frame, fetch.value);
  return true;
}

bool SymbolicRun::exchange(SymbolicDevice& device, const Instruction& i) {
  const ExchangeOperands& exchange = device.program->exchanges[static_cast<size_t>(i.index)];
  SymbolicFrame& frame = loaded_frame(device, i);
  if (!device.entered) {
    // What came last lies in the peers' memory.
    for (const int rank : members(device, i))
      if (rank != device.rank && device.exchanges > 0)
        read(device, rank, Buffer::Kind::kExchange, 0, (device.exchanges - 1) % 2);
    if (!device.received.empty())
      fail(device, cat("%", *device.received.begin(), ", which came with the last exchange, is still needed"));
    once(device, frame, frame.exchanges, i);
    for (const graph::ValueId id : exchange.shows)
      if (device.made.contains(id)) take(device, frame, id);
    write(device, Buffer::Kind::kExchange, 0, device.exchanges % 2);
  }
  if (!meet(device, i, frame.microbatch)) return false;
  for (const int rank : members(device, i))
    if (order_.brought(rank, meeting(device, i)) != frame.microbatch)
      fail(device, cat("rank ", rank, " shows values of another microbatch"));
  ++device.exchanges;
  for (const graph::ValueId id : exchange.receives) {
    make(device, frame, id);
    device.received.insert(id);
  }
  for (const graph::ValueId id : exchange.drops) frame.values.erase(id), device.received.erase(id);
  return true;
}

bool SymbolicRun::send(SymbolicDevice& device, const Instruction& i) {
  const TransferOperands& transfer = device.program->transfers[static_cast<size_t>(i.index)];
  SymbolicFrame& frame = loaded_frame(device, i);
  int64_t& sent = device.messages[static_cast<size_t>(i.index)].count;
  if (sent >= transfer.slots &&
      !order_.await(device.rank, transfer.peer, {Event::Kind::kReleased, transfer_of(device, transfer), sent - transfer.slots}))
    return false;
  once(device, frame, frame.transfers, i);
  for (const graph::ValueId id : transfer.values)
    if (device.made.contains(id)) take(device, frame, id);
  for (const graph::ValueId id : transfer.drops) frame.values.erase(id), device.received.erase(id);
  write(device, Buffer::Kind::kTransfer, transfer.number, static_cast<int>(sent % transfer.slots));
  order_.post(device.rank, {Event::Kind::kSent, transfer_of(device, transfer), sent++}, frame.microbatch);
  return true;
}

bool SymbolicRun::receive(SymbolicDevice& device, const Instruction& i) {
  const TransferOperands& transfer = device.program->transfers[static_cast<size_t>(i.index)];
  SymbolicFrame& frame = loaded_frame(device, i);
  SymbolicMessages& messages = device.messages[static_cast<size_t>(i.index)];
  const Event sent{Event::Kind::kSent, transfer_of(device, transfer), messages.count};
  if (!order_.await(device.rank, transfer.peer, sent)) return false;
  once(device, frame, frame.transfers, i);
  if (order_.brought(transfer.peer, sent) != frame.microbatch)
    fail(device, cat("rank ", transfer.peer, " sends values of microbatch ", order_.brought(transfer.peer, sent)));
  read(device, transfer.peer, Buffer::Kind::kTransfer, transfer.number, static_cast<int>(messages.count % transfer.slots));
  for (const graph::ValueId id : transfer.values) make(device, frame, id);
  messages.held.push_back(frame.microbatch);
  ++messages.count;
  return true;
}

bool SymbolicRun::free_frame(SymbolicDevice& device, const Instruction& i) {
  SymbolicFrame& frame = loaded_frame(device, i);
  const Program& program = *device.program;
  if (frame.segments.size() != program.segments.size() || frame.exchanges.size() != program.exchanges.size() ||
      frame.fetches.size() != program.fetches.size() || frame.buckets.size() != program.buckets.size() ||
      frame.transfers.size() != program.transfers.size())
    fail(device, cat("microbatch ", frame.microbatch, " is not computed to its end"));
  // It read what it received in the senders' memory until now; slots are let go in the order in which they filled.
  for (size_t t = 0; t < program.transfers.size(); ++t) {
    const TransferOperands& transfer = program.transfers[t];
    if (transfer.sends) continue;
    SymbolicMessages& messages = device.messages[t];
    if (messages.held.empty() || messages.held.front() != frame.microbatch)
      fail(device, cat("transfer ", transfer.number, " brought another microbatch first"));
    read(device, transfer.peer, Buffer::Kind::kTransfer, transfer.number, static_cast<int>(messages.released % transfer.slots));
    order_.post(device.rank, {Event::Kind::kReleased, transfer_of(device, transfer), messages.released++}, -1);
    messages.held.pop_front();
  }
  // A frame's values have places that are planned from one microbatch (run/arena.h).
  if (device.orders.try_emplace(i.frame, frame.order).first->second != frame.order)
    fail(device, cat("microbatch ", frame.microbatch, " ran in another order than the frame's first one"));
  if (!frame.values.empty()) fail(device, cat("%", *frame.values.begin(), " is still there"));
  frame = {};
  return true;
}

}  // namespace shoal::lower
