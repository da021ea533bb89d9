// Whether programs of a replica's ranks can run, and run together.
#include <map>

#include "base/text.h"
#include "infer/program.h"

namespace shoal::infer {
namespace {

struct Places {
  std::map<std::string, Buffer> buffers;
  std::set<std::string> written;
};

std::string instruction_fault(const Program& program, const Instruction& instruction, Places& places) {
  for (const std::string& input : instruction.inputs) {
    if (!places.buffers.contains(input)) return cat("reads ", input, ", which is no buffer");
    if (!places.written.contains(input) && places.buffers[input].width > 0)
      return cat("reads ", input, ", which nothing has written");
  }
  const auto width = [&](const std::string& name) { return places.buffers.at(name).width; };
  if (!instruction.output.empty()) {
    if (!places.buffers.contains(instruction.output))
      return cat("writes ", instruction.output, ", which is no buffer");
    places.written.insert(instruction.output);
  }
  switch (instruction.op) {
    case Op::kMatmul:
    case Op::kBias:
      if (instruction.ranges.size() != 1 || instruction.ranges[0].size() != width(instruction.output))
        return cat("has other rows than the ", width(instruction.output), " of ", instruction.output);
      break;
    case Op::kGather: {
      int64_t end = 0;
      for (const Range range : instruction.ranges) {
        if (range.begin != end) return cat("leaves a gap at column ", end);
        end = range.end;
      }
      if (end != width(instruction.output))
        return cat("ends at column ", end, " of ", width(instruction.output));
      if (static_cast<int64_t>(instruction.ranges.size()) != program.tp ||
          instruction.ranges[static_cast<size_t>(program.member())].size() != width(instruction.inputs.at(0)))
        return "gathers another part than this member's";
      break;
    }
    case Op::kAdd:
    case Op::kSiluTimes:
      if (width(instruction.inputs.at(0)) != width(instruction.inputs.at(1)))
        return "takes two of unlike width";
      break;
    case Op::kStore:
    case Op::kAttention:
      if (!program.layers.contains({instruction.layer, instruction.layer + 1}))
        return cat("touches layer ", instruction.layer, ", which is another stage's");
      break;
    default:
      break;
  }
  return "";
}

// What a rank exchanges: with its stage, and with the stages beside it.
std::vector<Instruction> exchanges(const Program& program, Op op) {
  std::vector<Instruction> found;
  for (const Instruction& instruction : program.instructions)
    if (instruction.op == op) found.push_back(instruction);
  return found;
}

}  // namespace

std::string check_programs(const std::vector<Program>& programs) {
  for (size_t rank = 0; rank < programs.size(); ++rank) {
    const Program& program = programs[rank];
    if (program.rank != static_cast<int64_t>(rank) ||
        program.tp * program.pp != static_cast<int64_t>(programs.size()))
      return cat("rank ", rank, " - the programs are not those of one replica");
    Places places;
    for (const Buffer& buffer : program.buffers) places.buffers[buffer.name] = buffer;
    for (size_t i = 0; i < program.instructions.size(); ++i)
      if (const std::string fault = instruction_fault(program, program.instructions[i], places);
          !fault.empty())
        return cat("rank ", rank, ", instruction ", i, " - ", fault);
  }
  for (const Program& program : programs) {
    const Program& first = programs[static_cast<size_t>(program.stage() * program.tp)];
    const auto mine = exchanges(program, Op::kGather), theirs = exchanges(first, Op::kGather);
    if (mine.size() != theirs.size())
      return cat("rank ", program.rank, " - gathers ", mine.size(), " times, rank ", first.rank, " ",
                 theirs.size());
    for (size_t i = 0; i < mine.size(); ++i)
      if (mine[i].ranges != theirs[i].ranges)
        return cat("rank ", program.rank, " - gather ", i, " has other columns than rank ", first.rank, "'s");
    for (const Instruction& send : exchanges(program, Op::kSend)) {
      if (send.peer < 0 || send.peer >= static_cast<int64_t>(programs.size()))
        return cat("rank ", program.rank, " - sends to rank ", send.peer, ", which is none");
      const auto received = exchanges(programs[static_cast<size_t>(send.peer)], Op::kRecv);
      if (received.size() != 1 || received[0].peer != program.rank)
        return cat("rank ", program.rank, " - sends to rank ", send.peer, ", which does not receive it");
    }
  }
  return "";
}

}  // namespace shoal::infer
