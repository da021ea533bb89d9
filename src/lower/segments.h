// Cuts a device's graph where it talks to others, and says what each piece takes from the frame and leaves in
// it. What runs between two cuts is a segment; what stands at one is an exchange, a fetch or a bucket.
#pragma once

#include <variant>
#include <vector>

#include "lower/local_graph.h"
#include "lower/program.h"

namespace shoal::lower {

/// What happens in turn when a device runs its graph once: numbers of Program::segments and so on.
struct RunSegment {
  int segment;
};
struct RunExchange {
  int exchange;
};
struct RunFetch {
  int fetch;
};
struct FillBucket {
  int bucket;
};
struct RunTransfer {
  int transfer;
};
using Action = std::variant<RunSegment, RunExchange, RunFetch, FillBucket, RunTransfer>;

/// Fills the tables of `program` (values, segments, exchanges, fetches, transfers, buckets) and returns one run of
/// `local.graph`: of each of its blocks, or of the whole where it has none. With buckets the gradients stay in the
/// frame until the last bucket that takes of them is full; else segments give them to an accumulator.
std::vector<std::vector<Action>> cut_segments(const LocalGraph& local, std::vector<Bucket> buckets, Program& program);

}  // namespace shoal::lower
