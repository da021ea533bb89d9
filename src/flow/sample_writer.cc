#include "flow/sample_writer.h"

#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "data/mapped_file.h"
#include "data/sample_record.h"
#include "flow/files.h"
#include "flow/sample_columns.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr size_t kBuffer = size_t{1} << 20;  // bytes of records

std::vector<SampleColumns> columns_of(const FlowWrite& sink, const arrow::Schema& schema,
                                      const std::string& place) {
  std::vector<SampleColumns> columns;
  for (const FlowField& field : sink.fields) columns.emplace_back(field, schema, place);
  return columns;
}

std::vector<data::SampleField> fields_of(const std::vector<SampleColumns>& columns) {
  std::vector<data::SampleField> fields;
  for (const SampleColumns& column : columns) fields.push_back(column.field());
  return fields;
}

data::Split split_named(const std::string& name) {
  return name == data::split_name(data::Split::kValidation) ? data::Split::kValidation : data::Split::kTrain;
}

class SampleWriter final : public Writer {
 public:
  SampleWriter(const FlowWrite& sink, const arrow::Schema& schema, const std::filesystem::path& out,
               data::Split split, int64_t part)
      : columns_(columns_of(sink, schema, "write")),
        fields_(fields_of(columns_)),
        key_name_(sink.key),
        key_(sink.key.empty() ? -1 : column_of(schema, sink.key)),
        out_(out),
        stem_(data::shard_stem(split, part)) {
    record_.file = data::samples_file(split, part);
  }

  void write(const Batch& batch) override {
    if (!file_) file_ = std::make_unique<FileSink>(out_ / record_.file);
    for (int64_t row = 0; row < batch->num_rows(); ++row) add(*batch, row);
  }

  std::vector<FileRecord> finish() override {
    if (!file_) return {};
    offsets_.push_back(done_ + static_cast<int64_t>(buffer_.size()));
    const auto index = std::as_bytes(std::span(offsets_));
    buffer_.insert(buffer_.end(), index.begin(), index.end());
    flush();
    file_->place(/*starts_writing=*/true);
    record_.bytes = file_->size();
    record_.checksum = file_->checksum();
    return {record_};
  }

 private:
  void add(const arrow::RecordBatch& batch, int64_t row) {
    const std::string key = key_of(batch, row), where = cat(out_.string(), " - sample ", key);
    numbers_.resize(columns_.size());
    values_.clear();
    for (size_t i = 0; i < columns_.size(); ++i) {
      numbers_[i].clear();
      const int64_t length = columns_[i].append(batch, row, where, numbers_[i]);
      values_.push_back({length, numbers_[i]});
    }
    offsets_.push_back(done_ + static_cast<int64_t>(buffer_.size()));
    data::append_record(buffer_, fields_, key, values_);
    ++record_.rows;
    if (buffer_.size() >= kBuffer) flush();
  }

  std::string key_of(const arrow::RecordBatch& batch, int64_t row) const {
    const std::string place = cat(stem_, ":", record_.rows);
    if (key_ < 0) return place;
    std::string key;
    append_value(key, *batch.column(key_), row);
    if (key.empty() || static_cast<int64_t>(key.size()) > data::kLongestKey)
      throw InputError(cat(out_.string(), " - sample ", place, ": got ",
                           key.empty() ? "no" : cat(key.size(), " bytes of"), " key in column ", key_name_,
                           ", want 1 to ", data::kLongestKey, " bytes; leave such rows out before"));
    return key;
  }

  void flush() {
    require(file_->Write(buffer_.data(), static_cast<int64_t>(buffer_.size())),
            (out_ / record_.file).string());
    done_ += static_cast<int64_t>(buffer_.size());
    buffer_.clear();
  }

  const std::vector<SampleColumns> columns_;
  const std::vector<data::SampleField> fields_;
  const std::string key_name_;
  const int key_;  // its column; -1: none
  const std::filesystem::path out_;
  const std::string stem_;
  FileRecord record_;
  std::unique_ptr<FileSink> file_;
  std::vector<int64_t> offsets_;                 // of records
  std::vector<std::byte> buffer_;                // records that are not written yet...
  int64_t done_ = 0;                             // ... and the bytes of those that are
  std::vector<std::vector<std::byte>> numbers_;  // of the row at hand, by field
  std::vector<data::FieldValue> values_;
};

}  // namespace

void check_samples(const FlowWrite& sink, const arrow::Schema& schema, const std::string& place) {
  if (sink.fields.empty())
    throw InputError(cat(place, ": fields: got none, want at least one, as in [write.fields] label = {}"));
  const std::vector<SampleColumns> columns = columns_of(sink, schema, place);
  data::check_schema(place, fields_of(columns));
  if (sink.key.empty()) return;
  const arrow::DataType& type = *schema.field(want_column(schema, sink.key, cat(place, ", key")))->type();
  if (type.id() != arrow::Type::STRING && type.id() != arrow::Type::LARGE_STRING &&
      !arrow::is_integer(type.id()))
    throw InputError(
        cat(place, ": key: column ", sink.key, ": got ", type_name(type), ", want text or whole numbers"));
}

Names sample_names(const FlowWrite& sink, const arrow::Schema& schema, const std::string& place) {
  Names names;
  for (const SampleColumns& column : columns_of(sink, schema, place)) column.add_names(names);
  if (!sink.key.empty()) names.insert(sink.key);
  return names;
}

std::string sample_identity(const FlowWrite& sink, const arrow::Schema& schema, const std::string& place) {
  std::string text = cat("samples by ", sink.key, "\n");
  for (const SampleColumns& column : columns_of(sink, schema, place)) text += cat(column.identity(), "\n");
  return text;
}

std::unique_ptr<Writer> make_sample_writer(const FlowWrite& sink, const SchemaPtr& schema,
                                           const std::filesystem::path& out, const std::string& split,
                                           int64_t part) {
  return std::make_unique<SampleWriter>(sink, *schema, out, split_named(split), part);
}

std::string samples_manifest(const OutputManifest& made, const FlowWrite& sink, const arrow::Schema& schema,
                             const std::filesystem::path& out) {
  data::SampleManifest manifest;
  manifest.version = 2;
  manifest.fields = fields_of(columns_of(sink, schema, "write"));
  manifest.input = made.identity;
  manifest.made_by = to_json(made);
  std::vector<data::SampleField> any_length = manifest.fields;
  for (data::SampleField& field : any_length) field.longest = data::kMaxSampleBytes;
  std::vector<std::unique_ptr<data::MappedFile>> open_files;  // where the keys lie
  std::vector<std::string_view> keys;
  for (const FileRecord& file : made.files) {
    if (!data::is_samples_file(file.file)) continue;
    auto& part = manifest[split_named(file.file.substr(0, file.file.find('-')))];
    part.shards.push_back({file.file, file.rows, file.bytes, file.checksum});
    part.samples += file.rows;
    open_files.push_back(
        std::make_unique<data::MappedFile>(out / file.file, file.bytes, file.checksum, "run the flow again"));
    const auto look = [&](const data::SampleView& sample) {
      keys.push_back(sample.key);
      for (size_t i = 0; i < sample.values.size(); ++i)
        if (data::SampleField& field = manifest.fields[i]; field.varies())
          field.longest = std::max(field.longest, sample.values[i].length);
    };
    data::each_record((out / file.file).string(), any_length, open_files.back()->verified(), file.rows, look);
  }
  std::sort(keys.begin(), keys.end());
  if (const auto twice = std::adjacent_find(keys.begin(), keys.end()); twice != keys.end())
    throw InputError(
        cat(out.string(), " - sample ", *twice,
            ": got a second one of this key, want one; name another column as key in [write], or none"));
  return data::to_json(manifest);
}

}  // namespace shoal::flow
