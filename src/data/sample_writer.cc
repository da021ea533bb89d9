// What a kill between the steps leaves: FOLDER.part, which the next writer clears; after the rename, the
// store.
#include "data/sample_writer.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/hash.h"
#include "base/text.h"
#include "shoal/error.h"
#include "state/durable.h"

namespace shoal::data {

namespace {
namespace fs = std::filesystem;
}  // namespace

SampleWriter::SampleWriter(fs::path folder, std::vector<SampleField> fields, int64_t validation_every,
                           int64_t shard_bytes, OnStep on_step)
    : folder_(std::move(folder)), part_(folder_.string() + ".part"), on_step_(std::move(on_step)) {
  const std::string place = folder_.string();
  check_schema(place, fields);
  for (SampleField& field : fields) field.longest = 0;
  if (validation_every < 0 || validation_every == 1)
    throw InputError(cat(place, " - validation_every: got ", validation_every,
                         ", want at least 2, or 0 for no validation split"));
  if (shard_bytes < 1 || shard_bytes > kMaxSampleBytes)
    throw InputError(cat(place, " - shard_bytes: got ", shard_bytes, ", want 1 to ", kMaxSampleBytes));
  manifest_.fields = std::move(fields);
  manifest_.validation_every = validation_every;
  manifest_.shard_bytes = shard_bytes;

  std::error_code error;
  if (fs::exists(fs::symlink_status(folder_, error)))
    throw InputError(cat(place, " - is there already; delete it, or name another folder"));
  on_step_("make " + part_.filename().string());
  fs::create_directories(part_, error);
  if (error)
    throw InputError(cat(part_.string(), " - cannot be made: ", error.message(), "; name another folder"));
  lock_ = std::make_unique<FolderLock>(part_);
  lock_->own();
  for (const auto& left : fs::directory_iterator(part_, error)) state::remove_tree(left.path());
}

SampleWriter::~SampleWriter() {
  std::error_code ignored;
  if (!is_finished_ && lock_) fs::remove_all(part_, ignored);
}

void SampleWriter::check(const std::string& key, std::span<const FieldValue> values) const {
  if (key.empty() || static_cast<int64_t>(key.size()) > kLongestKey)
    throw InputError(
        cat(folder_.string(), " - key of a sample: got ", key.size(), " bytes, want 1 to ", kLongestKey));
  for (size_t i = 0; i < values.size(); ++i) {
    const SampleField& field = manifest_.fields[i];
    const int64_t rows = field.varies() ? values[i].length : 1, row = field.bytes_of_row();
    const auto got = static_cast<int64_t>(values[i].bytes.size());
    if (rows < 0 || rows > kMaxSampleBytes / row || got != rows * row)
      throw InputError(cat(folder_.string(), " - sample ", key, ", field ", field.name, ": got ", got,
                           " bytes of length ", rows, ", want ", type_text(field.type, field.shape)));
  }
}

void SampleWriter::add(const std::string& key, std::span<const FieldValue> values) {
  check(key, values);
  if (!keys_.insert(hash_hex(key)).second)
    throw InputError(cat(folder_.string(), " - sample ", key, ": got a second one of this key, want one"));
  const Split split = split_of(key, manifest_.validation_every);
  OpenShard& shard = open_[static_cast<size_t>(split)];
  const int64_t size = record_bytes(manifest_.fields, key, values);
  if (!shard.offsets.empty() && static_cast<int64_t>(shard.bytes.size()) + size > manifest_.shard_bytes)
    close_shard(split);

  shard.offsets.push_back(static_cast<int64_t>(shard.bytes.size()));
  append_record(shard.bytes, manifest_.fields, key, values);
  for (size_t i = 0; i < values.size(); ++i)
    if (SampleField& field = manifest_.fields[i]; field.varies())
      field.longest = std::max(field.longest, values[i].length);
  ++manifest_[split].samples;
}

void SampleWriter::close_shard(Split split) {
  OpenShard& shard = open_[static_cast<size_t>(split)];
  if (shard.offsets.empty()) return;
  const auto samples = static_cast<int64_t>(shard.offsets.size());
  shard.offsets.push_back(static_cast<int64_t>(shard.bytes.size()));
  const auto index = std::as_bytes(std::span(shard.offsets));
  shard.bytes.insert(shard.bytes.end(), index.begin(), index.end());
  auto& shards = manifest_[split].shards;
  const std::string file = samples_file(split, static_cast<int64_t>(shards.size()));
  write_whole(part_ / file, shard.bytes, on_step_);
  shards.push_back({file, samples, static_cast<int64_t>(shard.bytes.size()), hash_hex(shard.bytes)});
  shard.bytes.clear();
  shard.offsets.clear();
}

SampleManifest SampleWriter::finish() {
  for (Split split : kSplits) close_shard(split);
  const std::string text = to_json(manifest_);
  write_whole(part_ / kManifestName, std::as_bytes(std::span(text)), on_step_);
  state::sync_folder(part_);
  on_step_("rename " + part_.filename().string());
  state::rename_path(part_, folder_);
  is_finished_ = true;
  const fs::path above = folder_.parent_path();
  state::sync_folder(above.empty() ? fs::path(".") : above);
  return manifest_;
}

}  // namespace shoal::data
