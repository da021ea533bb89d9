// How gradients travel to their owners while backward still runs (zero >= 2): packed, in the order in which
// backward makes them, into buckets of equal size. The same plan on all devices that run the same graph.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "lower/storage.h"

namespace shoal::lower {

/// Whole blocks of one contribution to a gradient.
struct BucketItem {
  size_t contribution;  // in the order of the graph's contributions
  Contribution target;
  Range elements;
  int64_t offset;  // bytes, in the bucket
  graph::ValueId value = graph::kNoValue;  // of the graph: the gradient itself
  bool drops = false;                      // nobody reads it after this
  friend bool operator==(const BucketItem&, const BucketItem&) = default;
};
using Bucket = std::vector<BucketItem>;

/// A block or more, at most 1/256 of the gradient: the ring of kBuckets of them is small beside it.
int64_t bucket_bytes(const Storage&);
inline constexpr int kBuckets = 4;

std::vector<Bucket> plan_buckets(const graph::Graph&, const Storage&);

}  // namespace shoal::lower
