// Prints a Program: its tables, then a line for each instruction; grammar in docs/program.md.
#include "base/text.h"
#include "lower/buffer_names.h"

namespace shoal::lower {
namespace {

using Kind = Instruction::Kind;
using graph::ValueId;

std::string print_range(Range range) { return cat("[", range.begin, ",", range.end, ")"); }
std::string print_values(const char* what, const std::vector<ValueId>& ids) {
  std::string text;
  if (!ids.empty()) text = cat(" ", what);
  for (const ValueId id : ids) text += cat(" %", id);
  return text;
}

// "[0,2)@1%a0:f32": of microbatches 0 and 1, device 1's first accumulator, in fp32.
std::string print(const PartialSum& term) {
  return cat(print_range(term.microbatches), term.dp >= 0 ? cat("@", term.dp) : std::string(),
             term.accumulator >= 0 ? print_buffer(Buffer::Kind::kAccumulator, term.accumulator) : std::string(),
             term.in_fp32 ? ":f32" : "");
}
std::string print(const Sum& sum) {
  std::string text = cat(" sum ", print_range(sum.microbatches), " -> ",
                         sum.accumulator < 0 ? print_buffer(Buffer::Kind::kSum)
                                             : print_buffer(Buffer::Kind::kAccumulator, sum.accumulator),
                         " of");
  for (const PartialSum& term : sum.terms) text += " " + print(term);
  return text;
}
std::string print(const BucketItem& item) {
  return cat(" %", item.value, ":", item.contribution, ":", item.target.unit, ".", item.target.index,
             print_range(item.elements), "@", item.offset, item.drops ? "!" : "");
}

}  // namespace

std::string print(const Instruction& i, const Program& program) {
  const auto frame = [&] { return i.frame < 0 ? std::string() : " " + print_buffer(Buffer::Kind::kFrame, i.frame); };
  const auto accumulator = [](int number) { return print_buffer(Buffer::Kind::kAccumulator, number); };
  std::string text;
  switch (i.kind) {
    case Kind::kLoad:
      text = cat("load", frame(), " microbatch=", i.microbatch);
      break;
    case Kind::kRun:
      text = cat("run S", i.index, frame());
      if (i.accumulator >= 0)
        text += cat(i.adds ? " +> " : " -> ", accumulator(i.accumulator), i.widens ? " f32" : "");
      break;
    case Kind::kFetch:
      text = cat("fetch F", i.index, frame());
      break;
    case Kind::kExchange:
      text = cat("exchange E", i.index, frame());
      break;
    case Kind::kSend:
      text = cat("send T", i.index, frame());
      break;
    case Kind::kReceive:
      text = cat("receive T", i.index, frame());
      break;
    case Kind::kFree:
      text = cat("free", frame());
      break;
    case Kind::kAdd:
      text = cat("add ", accumulator(i.from), " +> ", accumulator(i.accumulator),
                 i.index >= 0 ? cat(" P", i.index) : std::string());
      break;
    case Kind::kBegin:
      text = cat("begin_reduce_scatter K", i.index, frame(), " round=", print_range(i.round));
      break;
    case Kind::kReduceScatter:
      text = "reduce_scatter";
      if (i.index >= 0) text += cat(" K", i.index, " round=", print_range(i.round));
      for (const Sum& sum : i.sums) text += print(sum);
      break;
    case Kind::kAllReduce:
      text = "all_reduce %n";
      break;
    case Kind::kAllGather:
      text = cat("all_gather ", print_buffer(i.gathered));
      break;
    case Kind::kUpdate:
      text = "update";
      break;
    case Kind::kReplay:
      text = "replay";
      break;
    case Kind::kBarrier:
      text = "barrier";
      break;
  }
  if (i.group >= 0)
    text += cat(" group=", static_cast<size_t>(i.group) < program.groups.size()
                               ? program.groups[static_cast<size_t>(i.group)].name
                               : cat("?", i.group));
  return text;
}

std::string print(const Program& program) {
  std::string text = cat("program ", program.name, " rank=", program.rank, " microbatches=", program.num_microbatches,
                         " layout=", print(program.layout), "\n");
  text += cat("dealt ", join(program.dealt, " "), "\n");
  text += cat("peers ", join(program.peers, " "), "\n");
  if (program.layout.pp > 1)
    text += cat("stages ", join(program.stages, " "), "\nloss_stage ", program.pp_of_loss, "\n");
  for (const RankGroup& group : program.groups) text += cat("group ", group.name, " ", join(group.ranks, " "), "\n");
  for (const Buffer& buffer : program.buffers)
    text += cat("buffer ", print_buffer(buffer.kind, buffer.number), " bytes=", buffer.bytes,
                buffer.is_shared ? " shared" : "",
                buffer.inside >= 0 ? cat(" inside ", print_buffer(Buffer::Kind::kAccumulator, buffer.inside)) : "",
                "\n");
  for (const auto& [id, type] : program.values) text += cat("value %", id, " ", graph::print(type), "\n");
  for (size_t s = 0; s < program.segments.size(); ++s) {
    const Segment& segment = program.segments[s];
    text += cat("segment S", s, " nodes=", print_range(segment.nodes), " peak_bytes=", segment.peak_bytes);
    if (!segment.parameters.empty())
      text += cat(" parameters ", segment.parameters.size(), " ", join(segment.parameters, " "));
    text += print_values("reads", segment.reads) + print_values("writes", segment.writes) +
            print_values("drops", segment.drops);
    if (!segment.gradients.empty()) text += cat(" gradients ", join(segment.gradients, " "));
    text += cat(segment.makes_loss ? " loss" : "", segment.observes ? " observed" : "", "\n");
  }
  for (size_t e = 0; e < program.exchanges.size(); ++e) {
    const ExchangeOperands& exchange = program.exchanges[e];
    text += cat("operands E", e, " node=", exchange.node, " bytes=", exchange.bytes,
                print_values("shows", exchange.shows), print_values("receives", exchange.receives),
                print_values("drops", exchange.drops), "\n");
  }
  for (size_t f = 0; f < program.fetches.size(); ++f)
    text += cat("operands F", f, " node=", program.fetches[f].node, " unit=", program.fetches[f].unit, " value %",
                program.fetches[f].value, "\n");
  for (size_t t = 0; t < program.transfers.size(); ++t) {
    const TransferOperands& transfer = program.transfers[t];
    text += cat("operands T", t, " node=", transfer.node, " number=", transfer.number, transfer.sends ? " to=" : " from=",
                transfer.peer, " bytes=", transfer.bytes, " slots=", transfer.slots, print_values("values", transfer.values),
                print_values("drops", transfer.drops), "\n");
  }
  for (size_t b = 0; b < program.blocks.size(); ++b)
    text += cat("operands P", b, " stage=", program.blocks[b].stage, " held_bytes=",
                program.blocks[b].held_bytes, " segments ", join(program.blocks[b].segments, " "), "\n");
  for (size_t b = 0; b < program.buckets.size(); ++b) {
    text += cat("operands K", b);
    for (const BucketItem& item : program.buckets[b]) text += print(item);
    text += "\n";
  }
  for (const Instruction& instruction : program.instructions) text += cat("  ", print(instruction, program), "\n");
  return text;
}

}  // namespace shoal::lower
