#include "lower/program.h"

#include <algorithm>

#include "mesh/role.h"

namespace shoal::lower {

std::vector<int64_t> Program::microbatches() const {
  std::vector<int64_t> mine;
  for (const Instruction& instruction : instructions)
    if (instruction.kind == Instruction::Kind::kLoad) mine.push_back(instruction.microbatch);
  return mine;
}

int Program::rank_of_loss(int64_t microbatch) const {
  return mesh::rank_of(layout, pp_of_loss, dealt.at(static_cast<size_t>(microbatch)), mesh::role_of(layout, rank).tp);
}

const Buffer* Program::find(Buffer::Kind kind, int number) const {
  const auto found = std::ranges::find_if(
      buffers, [&](const Buffer& buffer) { return buffer.kind == kind && buffer.number == number; });
  return found == buffers.end() ? nullptr : &*found;
}

}  // namespace shoal::lower
