// Samples of a store, put together: what a batch of tensors is made of, without tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/sample_shards.h"

namespace shoal::data {

/// Bytes at an address that is a multiple of 64, as tensors have it.
struct AlignedBytes {
  struct Free {
    void operator()(std::byte*) const;
  };
  explicit AlignedBytes(size_t size = 0);
  std::unique_ptr<std::byte[], Free> data;
  size_t size;
};

/// One field of some samples: [samples, dims of the field], a first dim that varies padded with zeros to the
/// store's longest.
struct BatchField {
  AlignedBytes numbers;
  AlignedBytes lengths;  // I64 [samples], only where the first dim varies
};

/// `fields` are places in the schema. REQUIRES: indexes of samples of the split. Threads: any.
std::vector<BatchField> read_batch(const SampleShards&, Split, std::span<const int64_t> samples,
                                   std::span<const size_t> fields);

}  // namespace shoal::data
