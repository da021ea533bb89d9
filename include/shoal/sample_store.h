// Samples of tensors on the disk (docs/sample_store.md): written by one program, read as batches by the
// devices of another.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "shoal/model.h"

namespace shoal {

/// One tensor of every sample.
struct SampleField {
  std::string name;
  at::ScalarType dtype =
      at::kByte;  // kByte, kChar, kShort, kInt, kLong, kHalf, kBFloat16, kFloat, kDouble or kBool
  std::vector<int64_t>
      shape;  // without the samples' dim; the first may be -1: it varies from sample to sample
};

struct SampleStoreOptions {
  int64_t validation_every = 20;            // about one sample of so many, by the hash of its key; 0: none
  int64_t shard_bytes = int64_t{64} << 20;  // the writer holds two shards in memory
};

/// Writes a sample store beside `folder`; finish() gives it the name. Without that there is none. One thread.
/// Errors: InputError for a folder that is there or that another writer is at, a schema or a sample that does
/// not fit or whose key was there already; JobError where the disk does not take it.
class SampleStoreWriter {
 public:
  SampleStoreWriter(const std::filesystem::path& folder, const std::vector<SampleField>& fields,
                    SampleStoreOptions options = {});
  ~SampleStoreWriter();
  /// A tensor for each field. Samples keep their order; the key decides the split.
  void add(const std::string& key, const std::vector<at::Tensor>& sample);
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A store, mapped read-only: opening it costs a look at the files' sizes; a shard's checksum is compared
/// when a sample of it is first asked for. Copies share it. Threads: const functions from any. Errors:
/// InputError with the file's name.
class SampleStore {
 public:
  explicit SampleStore(const std::filesystem::path& folder);

  const std::vector<SampleField>& fields() const;
  int64_t num_training() const;    // samples
  int64_t num_validation() const;  // samples
  /// Compares every checksum now.
  void verify() const;

  /// Sample `index` of a split: a tensor for each field, without the samples' dim; a copy. Throws InputError
  /// for an index that is not there.
  std::vector<at::Tensor> training(int64_t index) const;
  std::vector<at::Tensor> validation(int64_t index) const;
  std::string training_key(int64_t index) const;
  std::string validation_key(int64_t index) const;

 private:
  friend class SampleLoader;
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

struct SampleLoaderOptions {
  uint64_t seed = 1;               // of the order
  int64_t microbatches = 1;        // TrainerOptions::microbatches
  int64_t microbatch_samples = 1;  // of each microbatch, and of each batch of validation
};

/// A store as batches of some of its fields: [samples, dims of the field], for each field in turn; a field
/// whose first dim varies is padded with zeros to the store's longest and followed by the lengths, I64
/// [samples]. All batches have one shape. While a batch is used, a thread makes the one that this device will
/// likely ask for next. Belongs to one thread. Errors: InputError.
class SampleLoader {
 public:
  /// Throws InputError unless the store has the fields as they are said here, and a sample to train on.
  SampleLoader(const SampleStore& store, const std::vector<SampleField>& fields, SampleLoaderOptions options);
  ~SampleLoader();

  /// Microbatch `microbatch` of step `step`: samples (step * microbatches + microbatch) * microbatch_samples
  /// on of the run, in an order that is a function of (seed, number) alone; each epoch has every sample once.
  /// For Trainer::step([&](int64_t microbatch) { return loader.training(trainer.steps_done(), microbatch);
  /// }).
  Batch training(int64_t step, int64_t microbatch);

  /// Whole batches of the validation split; a rest that fills none is left out.
  int64_t num_validation_batches() const;
  /// Batch `index`, in the store's order. For Trainer::evaluate and Trainer::predict.
  Batch validation(int64_t index) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal
