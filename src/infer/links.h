// How a device hands rows to others of its replica: the parts of its stage become one whole on all, and
// stages pass rows on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/blocks.h"
#include "comm/group.h"
#include "infer/program.h"

namespace shoal::infer {

class Links {
 public:
  /// `rows`: at most so many in a step. Collective over the stage.
  Links(comm::Communicator&, const Program&, int64_t rows);

  /// `part` is [rows, this member's columns]; `whole` becomes [rows, width], of member m the columns
  /// ranges[m]. Collective over the stage.
  void gather(const float* part, int64_t rows, std::span<const Range> ranges, float* whole, int64_t width);
  void send(int64_t rank, const float* from, int64_t elements);
  void recv(int64_t rank, float* to, int64_t elements);

 private:
  comm::Group world_, stage_;
  size_t half_bytes_ = 0;
  std::shared_ptr<comm::Window> window_;  // two halves, in turn
  uint64_t gathers_ = 0;
};

}  // namespace shoal::infer
