#include "run/norm.h"

#include <cmath>

#include "base/text.h"
#include "comm/reduce.h"

namespace shoal::run {
namespace {

// A loss may be not finite although all gradients are: a mean over nothing.
void check_losses(const std::vector<double>& losses, int64_t step) {
  constexpr size_t kTold = 8;
  std::vector<int64_t> bad;
  for (size_t m = 0; m < losses.size(); ++m)
    if (!std::isfinite(losses[m])) bad.push_back(static_cast<int64_t>(m));
  if (bad.empty()) return;
  const bool nan = std::isnan(losses[static_cast<size_t>(bad[0])]);
  const size_t more = bad.size() - std::min(bad.size(), kTold);
  bad.resize(bad.size() - more);
  throw NotFinite(
      cat("step ", step, " - loss of microbatch ", join(bad, ", "),
          more > 0 ? cat(" and ", more, " more") : std::string(), ": got ", nan ? "a NaN" : "an infinite",
          " value, though every gradient is finite; the weights are those of the step before. A mean "
          "over no elements gives this (every target of the microbatch is ignored): divide a sum by a "
          "count that is never 0"));
}

}  // namespace

Norm read_norm(DeviceMemory& memory, const lower::Program& program, int64_t step, double clip_norm) {
  Norm norm;
  std::vector<double> losses;
  for (int64_t m = 0; m < program.num_microbatches; ++m)
    losses.push_back(memory.read_loss(program.rank_of_loss(m), m));
  for (int rank = 0; rank < memory.ownership().num_ranks(); ++rank) norm.stop |= memory.read_stop(rank) != 0;
  const auto count = static_cast<double>(program.num_microbatches);
  norm.loss = static_cast<float>(comm::tree_sum(losses) / count);

  const lower::Storage& storage = memory.storage();
  std::vector<double> squares(static_cast<size_t>(storage.num_blocks));
  for (size_t u = 0; u < storage.units.size(); ++u) {
    const lower::Unit& unit = storage.units[u];
    for (const auto& [rank, elements] : memory.ownership().sharers(u)) {
      for (int64_t block = unit.first_block + elements.begin / kBlockElements;
           block < unit.first_block + num_blocks(elements.end); ++block) {
        const double square = memory.read_square(rank, block);
        if (!std::isfinite(square))
          throw NotFinite(
              cat("step ", step, " - gradient of ", unit.parameter, ": got ", square > 0 ? "an infinite" : "a NaN",
                  " value, loss ", norm.loss,
                  "; the weights are those of the step before, try a smaller learning rate or clip_norm"));
        squares[static_cast<size_t>(block)] = square;
      }
    }
  }
  check_losses(losses, step);
  norm.grad_norm = std::sqrt(comm::tree_sum(squares)) / count;
  const double clip = clip_norm > 0 ? std::min(1.0, clip_norm / (norm.grad_norm + 1e-6)) : 1.0;
  norm.divisor = static_cast<float>(count / clip);
  return norm;
}

}  // namespace shoal::run
