#include "shoal/sample_store.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "base/text.h"
#include "data/prefetch.h"
#include "data/sample_batch.h"
#include "data/sample_order.h"
#include "data/sample_shards.h"
#include "data/sample_writer.h"
#include "kernels/cpu/host.h"
#include "shoal/error.h"

namespace shoal {

namespace {
using data::SampleType;
using data::Split;

constexpr std::array<std::pair<at::ScalarType, SampleType>, 10> kTypes = {{{at::kByte, SampleType::kU8},
                                                                           {at::kChar, SampleType::kI8},
                                                                           {at::kShort, SampleType::kI16},
                                                                           {at::kInt, SampleType::kI32},
                                                                           {at::kLong, SampleType::kI64},
                                                                           {at::kHalf, SampleType::kF16},
                                                                           {at::kBFloat16, SampleType::kBF16},
                                                                           {at::kFloat, SampleType::kF32},
                                                                           {at::kDouble, SampleType::kF64},
                                                                           {at::kBool, SampleType::kBool}}};

std::optional<SampleType> stored(at::ScalarType dtype) {
  for (const auto& [ours, theirs] : kTypes)
    if (ours == dtype) return theirs;
  return std::nullopt;
}

at::ScalarType loaded(SampleType type) {
  return std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& pair) { return pair.second == type; })
      ->first;
}

std::string text_of(at::ScalarType dtype, const std::vector<int64_t>& shape) {
  const auto type = stored(dtype);
  return type ? data::type_text(*type, shape) : cat(at::toString(dtype), " [", join(shape, ", "), "]");
}

std::vector<data::SampleField> schema(const std::string& place, const std::vector<SampleField>& fields) {
  std::vector<data::SampleField> schema;
  for (const SampleField& field : fields) {
    const auto type = stored(field.dtype);
    if (!type)
      throw InputError(cat(place, " - field ", field.name, ": got dtype ", at::toString(field.dtype),
                           ", want one of ", join(data::kSampleTypeNames, ", ")));
    schema.push_back({field.name, *type, field.shape, 0});
  }
  return schema;
}

std::vector<int64_t> with_first(int64_t first, const std::vector<int64_t>& dims) {
  std::vector<int64_t> shape = {first};
  shape.insert(shape.end(), dims.begin(), dims.end());
  return shape;
}

/// The bytes become the tensor's.
at::Tensor to_tensor(data::AlignedBytes bytes, const std::vector<int64_t>& shape, at::ScalarType dtype) {
  auto owner = std::make_shared<data::AlignedBytes>(std::move(bytes));
  std::byte* address = owner->data.get();
  return at::from_blob(
      address, shape, [owner](void*) mutable { owner.reset(); }, at::TensorOptions(dtype));
}

}  // namespace

struct SampleStoreWriter::Impl {
  std::string place;
  std::vector<SampleField> fields;
  data::SampleWriter writer;
};

SampleStoreWriter::SampleStoreWriter(const std::filesystem::path& folder,
                                     const std::vector<SampleField>& fields, SampleStoreOptions options)
    : impl_(new Impl{folder.string(), fields,
                     data::SampleWriter(folder, schema(folder.string(), fields), options.validation_every,
                                        options.shard_bytes)}) {}

SampleStoreWriter::~SampleStoreWriter() = default;

void SampleStoreWriter::add(const std::string& key, const std::vector<at::Tensor>& sample) {
  const std::string place = cat(impl_->place, " - sample ", key);
  if (sample.size() != impl_->fields.size())
    throw InputError(
        cat(place, ": got ", sample.size(), " tensors, want ", impl_->fields.size(), ", one for each field"));
  std::vector<at::Tensor> dense;
  std::vector<data::FieldValue> values;
  for (size_t i = 0; i < sample.size(); ++i) {
    const SampleField& field = impl_->fields[i];
    const std::string here = cat(place, ", field ", field.name, ": got ");
    if (!sample[i].defined())
      throw InputError(cat(here, "no tensor, want ", text_of(field.dtype, field.shape)));
    const std::vector<int64_t> shape = sample[i].sizes().vec();
    std::vector<int64_t> want = field.shape;
    const bool varies = !want.empty() && want[0] == -1 && !shape.empty();
    if (varies) want[0] = shape[0];
    if (shape != want || sample[i].scalar_type() != field.dtype)
      throw InputError(
          cat(here, text_of(sample[i].scalar_type(), shape), ", want ", text_of(field.dtype, field.shape)));
    dense.push_back(sample[i].detach().to(kernels::kHost).contiguous());
    values.push_back({varies ? shape[0] : 0,
                      {static_cast<const std::byte*>(dense.back().const_data_ptr()), dense.back().nbytes()}});
  }
  impl_->writer.add(key, values);
}

void SampleStoreWriter::finish() { impl_->writer.finish(); }

struct SampleStore::Impl {
  data::SampleShards shards;
  std::vector<SampleField> fields;

  explicit Impl(const std::filesystem::path& folder) : shards(folder) {
    for (const data::SampleField& field : shards.manifest().fields)
      fields.push_back({field.name, loaded(field.type), field.shape});
  }

  data::SampleView view(Split split, int64_t index) const {
    if (index < 0 || index >= shards.num_samples(split))
      throw InputError(cat(shards.folder().string(), " - sample of the ", data::split_name(split),
                           " split: got ", index, ", want 0 to ", shards.num_samples(split) - 1));
    return shards.sample(split, index);
  }

  std::vector<at::Tensor> tensors(Split split, int64_t index) const {
    const data::SampleView sample = view(split, index);
    std::vector<at::Tensor> tensors;
    for (size_t i = 0; i < fields.size(); ++i) {
      std::vector<int64_t> shape = fields[i].shape;
      if (shards.manifest().fields[i].varies()) shape[0] = sample.values[i].length;
      data::AlignedBytes bytes(sample.values[i].bytes.size());
      std::memcpy(bytes.data.get(), sample.values[i].bytes.data(), bytes.size);
      tensors.push_back(to_tensor(std::move(bytes), shape, fields[i].dtype));
    }
    return tensors;
  }
};

SampleStore::SampleStore(const std::filesystem::path& folder) : impl_(std::make_shared<const Impl>(folder)) {}
const std::vector<SampleField>& SampleStore::fields() const { return impl_->fields; }
int64_t SampleStore::num_training() const { return impl_->shards.num_samples(Split::kTrain); }
int64_t SampleStore::num_validation() const { return impl_->shards.num_samples(Split::kValidation); }
void SampleStore::verify() const { impl_->shards.verify(); }
std::vector<at::Tensor> SampleStore::training(int64_t i) const { return impl_->tensors(Split::kTrain, i); }
std::vector<at::Tensor> SampleStore::validation(int64_t i) const {
  return impl_->tensors(Split::kValidation, i);
}
std::string SampleStore::training_key(int64_t i) const {
  return std::string(impl_->view(Split::kTrain, i).key);
}
std::string SampleStore::validation_key(int64_t i) const {
  return std::string(impl_->view(Split::kValidation, i).key);
}

struct SampleLoader::Impl {
  using Raw = std::vector<data::BatchField>;

  std::shared_ptr<const SampleStore::Impl> store;
  SampleLoaderOptions options;
  std::vector<size_t> places;  // in the schema, of each field that is loaded
  data::SampleOrder order;
  data::Prefetch<Raw> training;

  Impl(std::shared_ptr<const SampleStore::Impl> opened, std::vector<size_t> fields,
       const SampleLoaderOptions& given)
      : store(std::move(opened)),
        options(given),
        places(std::move(fields)),
        order(options.seed, store->shards.num_samples(Split::kTrain)),
        training([this](int64_t batch) { return read(Split::kTrain, batch); }, options.microbatches) {}

  /// On the thread of `training` too: no tensors here.
  Raw read(Split split, int64_t batch) const {
    std::vector<int64_t> samples;
    for (int64_t i = batch * options.microbatch_samples; i < (batch + 1) * options.microbatch_samples; ++i)
      samples.push_back(split == Split::kTrain ? order(i) : i);
    return data::read_batch(store->shards, split, samples, places);
  }

  Batch to_batch(Raw raw) const {
    const int64_t samples = options.microbatch_samples;
    Batch batch;
    for (size_t i = 0; i < raw.size(); ++i) {
      const data::SampleField& field = store->shards.manifest().fields[places[i]];
      std::vector<int64_t> dims = field.shape;
      if (field.varies()) dims[0] = field.longest;
      batch.push_back(to_tensor(std::move(raw[i].numbers), with_first(samples, dims), loaded(field.type)));
      if (field.varies()) batch.push_back(to_tensor(std::move(raw[i].lengths), {samples}, at::kLong));
    }
    return batch;
  }
};

SampleLoader::SampleLoader(const SampleStore& store, const std::vector<SampleField>& fields,
                           SampleLoaderOptions options) {
  const data::SampleShards& shards = store.impl_->shards;
  const std::string place = shards.folder().string();
  const auto& schema = shards.manifest().fields;
  std::vector<size_t> places;
  for (const SampleField& field : fields) {
    const auto found =
        std::find_if(schema.begin(), schema.end(), [&](const auto& f) { return f.name == field.name; });
    if (found == schema.end()) {
      std::vector<std::string> names;
      for (const data::SampleField& other : schema) names.push_back(other.name);
      throw InputError(cat(place, " - fields: got no ", field.name, ", want it among ", join(names, ", ")));
    }
    if (loaded(found->type) != field.dtype || found->shape != field.shape)
      throw InputError(cat(place, " - field ", field.name, ": got ",
                           data::type_text(found->type, found->shape), ", want ",
                           text_of(field.dtype, field.shape), "; name what the store has (shoal data show ",
                           place, "), or write it anew"));
    places.push_back(static_cast<size_t>(found - schema.begin()));
  }
  if (places.empty()) throw InputError(cat(place, " - fields: got none to load, want at least one"));
  if (options.microbatches < 1 || options.microbatch_samples < 1)
    throw InputError(cat(place, " - batches: got ", options.microbatches, " microbatches of ",
                         options.microbatch_samples, " samples, want at least 1 of 1"));
  if (shards.num_samples(Split::kTrain) < 1)
    throw InputError(cat(place, " - train split: got no samples, want at least one"));
  impl_ = std::make_unique<Impl>(store.impl_, std::move(places), options);
}

SampleLoader::~SampleLoader() = default;

Batch SampleLoader::training(int64_t step, int64_t microbatch) {
  const int64_t microbatches = impl_->options.microbatches;
  if (step < 0 || microbatch < 0 || microbatch >= microbatches)
    throw InputError(cat("sample loader - batch: got microbatch ", microbatch, " of step ", step,
                         ", want 0 to ", microbatches - 1, " of a step from 0 on"));
  return impl_->to_batch(impl_->training.get(step * microbatches + microbatch));
}

int64_t SampleLoader::num_validation_batches() const {
  return impl_->store->shards.num_samples(Split::kValidation) / impl_->options.microbatch_samples;
}

Batch SampleLoader::validation(int64_t index) const {
  if (index < 0 || index >= num_validation_batches())
    throw InputError(cat("sample loader - batch of validation: got ", index, ", want 0 to ",
                         num_validation_batches() - 1));
  return impl_->to_batch(impl_->read(Split::kValidation, index));
}

}  // namespace shoal
