#include "lower/memory.h"

#include "base/text.h"

namespace shoal::lower {

Memory memory_of(const Program& program) {
  Memory memory;
  for (const Buffer& buffer : program.buffers) {
    switch (buffer.kind) {
      case Buffer::Kind::kWeights:
      case Buffer::Kind::kMaster:
        memory.weights += buffer.bytes;
        break;
      case Buffer::Kind::kAccumulator:
      case Buffer::Kind::kSum:
        memory.gradients += buffer.bytes;
        break;
      case Buffer::Kind::kOptimizer:
        memory.optimizer += buffer.bytes;
        break;
      case Buffer::Kind::kFrame:
        memory.activations += buffer.bytes;
        break;
      case Buffer::Kind::kModule:
        memory.buffers += buffer.bytes;
        break;
      case Buffer::Kind::kBucket:
      case Buffer::Kind::kBoard:
      case Buffer::Kind::kExchange:
      case Buffer::Kind::kTransfer:
        memory.windows += buffer.bytes;
        break;
    }
  }
  return memory;
}

int64_t transfer_bytes(const Program& program) {
  int64_t bytes = 0;
  for (const Buffer& buffer : program.buffers)
    if (buffer.kind == Buffer::Kind::kTransfer) bytes += buffer.bytes;
  return bytes;
}

int64_t model_bytes(const Ownership& ownership, const GradientSchedule& schedule, int rank) {
  constexpr auto kStatesAndMaster = static_cast<int64_t>(3 * sizeof(float));
  int64_t owned = 0;
  for (const Shard& piece : ownership.owned(rank)) owned += piece.elements.size();
  return ownership.weight_bytes(rank) + schedule.num_accumulators * ownership.accumulator_bytes(rank) + owned * kStatesAndMaster;
}

std::string print(const Memory& memory) {
  const auto bytes = [](int64_t count) { return human_bytes(static_cast<uint64_t>(count)); };
  return cat("weights ", bytes(memory.weights), ", gradients ", bytes(memory.gradients), ", optimizer ",
             bytes(memory.optimizer), ", activations ", bytes(memory.activations), ", buffers ", bytes(memory.buffers),
             ", windows ", bytes(memory.windows), ": ", bytes(memory.total()));
}

}  // namespace shoal::lower
