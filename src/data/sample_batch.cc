#include "data/sample_batch.h"

#include <cstring>
#include <new>

namespace shoal::data {

namespace {
constexpr std::align_val_t kAlignment{64};
}

void AlignedBytes::Free::operator()(std::byte* bytes) const { ::operator delete[](bytes, kAlignment); }

AlignedBytes::AlignedBytes(size_t bytes)
    : data(static_cast<std::byte*>(::operator new[](bytes, kAlignment))), size(bytes) {}

std::vector<BatchField> read_batch(const SampleShards& store, Split split, std::span<const int64_t> samples,
                                   std::span<const size_t> fields) {
  std::vector<size_t> bytes;  // of one sample, padded
  std::vector<BatchField> batch;
  for (size_t place : fields) {
    const SampleField& field = store.manifest().fields[place];
    bytes.push_back(static_cast<size_t>((field.varies() ? field.longest : 1) * field.bytes_of_row()));
    batch.push_back({AlignedBytes(samples.size() * bytes.back()),
                     AlignedBytes(field.varies() ? samples.size() * sizeof(int64_t) : 0)});
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    const SampleView sample = store.sample(split, samples[i]);
    for (size_t f = 0; f < fields.size(); ++f) {
      const FieldValue& value = sample.values[fields[f]];
      std::byte* to = batch[f].numbers.data.get() + i * bytes[f];
      std::memcpy(to, value.bytes.data(), value.bytes.size());
      std::memset(to + value.bytes.size(), 0, bytes[f] - value.bytes.size());
      if (batch[f].lengths.size > 0)
        std::memcpy(batch[f].lengths.data.get() + i * sizeof(int64_t), &value.length, sizeof value.length);
    }
  }
  return batch;
}

}  // namespace shoal::data
