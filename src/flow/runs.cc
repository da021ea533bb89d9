#include "flow/runs.h"

#include <arrow/io/file.h>
#include <arrow/ipc/api.h>

#include <algorithm>

#include "base/text.h"
#include "flow/files.h"
#include "flow/gather.h"
#include "flow/keeping_pool.h"
#include "flow/key_order.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr const char* kKeyColumn =
    " key";                       // no user's column: names of columns do not begin with a space there
constexpr int64_t kBatches = 64;  // of a run: how fine it can be cut
constexpr int64_t kLeastRows = 16;
constexpr size_t kMostOpen = 400;  // files; the system's limit is most often 1,024

SchemaPtr with_key(const arrow::Schema& schema) {
  arrow::FieldVector fields = schema.fields();
  fields.push_back(arrow::field(kKeyColumn, arrow::binary()));
  return arrow::schema(fields);
}

ArrayPtr as_array(const std::vector<std::string_view>& keys, const std::string& place) {
  int64_t bytes = 0;
  for (const std::string_view key : keys) bytes += static_cast<int64_t>(key.size());
  arrow::BinaryBuilder array(arrow::binary(), &memory());
  require(array.Reserve(static_cast<int64_t>(keys.size())), place);
  require(array.ReserveData(bytes), place);
  for (const std::string_view key : keys) array.UnsafeAppend(key);
  return value(array.Finish(), place);
}

/// The first row whose key is not below `key`.
int64_t lower_row(const arrow::BinaryArray& keys, const std::string& key) {
  int64_t low = 0, high = keys.length();
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (keys.GetView(middle) < key)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// The batches of a run that may have rows of the range.
std::pair<size_t, size_t> batches_in(const RunRecord& run, const KeyRange& range) {
  const auto& keys = run.first_keys;
  const auto after = std::upper_bound(keys.begin(), keys.end(), range.begin);
  size_t begin = after == keys.begin() ? 0 : static_cast<size_t>(after - keys.begin()) - 1;
  while (begin > 0 && keys[begin] == range.begin) --begin;  // equal keys may begin a batch earlier
  const size_t end =
      range.has_end
          ? static_cast<size_t>(std::lower_bound(keys.begin(), keys.end(), range.end) - keys.begin())
          : keys.size();
  return {begin, std::max(begin, end)};
}

}  // namespace

RunRecord write_run(const SortedRows& sorted, const std::filesystem::path& folder, const std::string& name) {
  RunRecord record;
  record.file = name;
  record.rows = sorted.rows->num_rows();
  const SchemaPtr schema = with_key(*sorted.rows->schema());
  std::vector<ArrayPtr> columns = sorted.rows->columns();
  columns.push_back(as_array(sorted.keys, name));
  const Batch all = arrow::RecordBatch::Make(schema, record.rows, columns);
  const std::string place = (folder / name).string();
  const auto file = std::make_shared<FileSink>(folder / name);
  arrow::ipc::IpcWriteOptions options;
  options.use_threads = false;
  const auto writer = value(arrow::ipc::MakeFileWriter(file, schema, options), place);
  const int64_t step = std::max(kLeastRows, (record.rows + kBatches - 1) / kBatches);
  for (int64_t begin = 0; begin < record.rows; begin += step) {
    require(writer->WriteRecordBatch(*all->Slice(begin, step)), place);
    record.first_keys.emplace_back(sorted.keys[static_cast<size_t>(begin)]);
  }
  require(writer->Close(), place);
  file->place(/*starts_writing=*/false);  // never synced: what is found again is compared with its checksum
  record.bytes = file->size();
  record.checksum = file->checksum();
  return record;
}

std::vector<KeyRange> cut_partitions(const std::vector<const StageRuns*>& sides, int64_t part_bytes) {
  struct Point {
    std::string_view key;
    int64_t bytes;
    const Exchange* exchange;
  };
  std::vector<Point> points;
  int64_t total = 0;
  for (const StageRuns* side : sides) {
    for (const RunRecord& run : side->runs) {
      total += run.bytes;
      for (const std::string& key : run.first_keys)
        points.push_back({key, run.bytes / static_cast<int64_t>(run.first_keys.size()), side->exchange});
    }
  }
  std::stable_sort(points.begin(), points.end(),
                   [](const Point& a, const Point& b) { return a.key < b.key; });
  const int64_t count = std::max<int64_t>(1, (total + part_bytes - 1) / part_bytes);
  std::vector<KeyRange> ranges(1);
  int64_t seen = 0;
  for (const Point& point : points) {
    const bool is_due = seen >= total / count * static_cast<int64_t>(ranges.size()) &&
                        static_cast<int64_t>(ranges.size()) < count;
    seen += point.bytes;
    if (!is_due) continue;
    const std::string cut(point.key.substr(0, point.exchange->whole_prefix(point.key)));
    if (cut <= ranges.back().begin) continue;  // still the same key
    ranges.back().end = cut;
    ranges.back().has_end = true;
    ranges.push_back({cut, "", false});
  }
  return ranges;
}

std::vector<int64_t> partition_bytes(const std::vector<const StageRuns*>& sides,
                                     const std::vector<KeyRange>& ranges) {
  std::vector<int64_t> bytes(ranges.size());
  for (const StageRuns* side : sides)
    for (const RunRecord& run : side->runs)
      for (const std::string& key : run.first_keys) {
        const auto after =
            std::upper_bound(ranges.begin(), ranges.end(), key,
                             [](const std::string& k, const KeyRange& r) { return k < r.begin; });
        bytes[static_cast<size_t>(after - ranges.begin()) - 1] +=
            run.bytes / static_cast<int64_t>(run.first_keys.size());
      }
  return bytes;
}

class RunReader::File {
 public:
  explicit File(const std::string& path) : path_(path) {
    const auto file = value(arrow::io::MemoryMappedFile::Open(path, arrow::io::FileMode::READ), path);
    arrow::ipc::IpcReadOptions options;
    options.use_threads = false;
    reader_ = value(arrow::ipc::RecordBatchFileReader::Open(file, options), path);
  }
  Batch read(size_t batch) { return value(reader_->ReadRecordBatch(static_cast<int>(batch)), path_); }

 private:
  std::string path_;
  std::shared_ptr<arrow::ipc::RecordBatchFileReader> reader_;
};

RunReader::RunReader(const std::vector<RunRecord>& runs, std::filesystem::path folder,
                     const SchemaPtr& run_schema)
    : runs_(runs),
      folder_(std::move(folder)),
      schema_(run_schema),
      files_(std::min(runs.size(), kMostOpen)) {}
RunReader::~RunReader() = default;

SortedRows RunReader::read(const KeyRange& range) {
  const auto found = std::make_shared<std::vector<Batch>>();
  std::vector<Batch> rows;
  std::vector<std::string_view> keys;
  std::vector<RowPlace> places;
  for (size_t r = 0; r < runs_.size(); ++r) {
    const auto [begin, end] = batches_in(runs_[r], range);
    if (begin >= end) continue;
    std::shared_ptr<File> file = r < files_.size() ? files_[r] : nullptr;
    if (!file) file = std::make_shared<File>((folder_ / runs_[r].file).string());
    if (r < files_.size()) files_[r] = file;
    for (size_t b = begin; b < end; ++b) {
      const Batch batch = file->read(b);
      const int last = batch->num_columns() - 1;
      const auto& batch_keys = static_cast<const arrow::BinaryArray&>(*batch->column(last));
      const int64_t low = lower_row(batch_keys, range.begin);
      const int64_t high = range.has_end ? lower_row(batch_keys, range.end) : batch_keys.length();
      if (low >= high) continue;
      for (int64_t row = low; row < high; ++row) {
        keys.push_back(batch_keys.GetView(row));
        places.push_back({static_cast<int32_t>(rows.size()), static_cast<int32_t>(row)});
      }
      rows.push_back(value(batch->RemoveColumn(last), "partition"));
      found->push_back(batch);
    }
  }
  SortedRows result;
  std::vector<RowPlace> order;
  order.reserve(keys.size());
  result.keys.reserve(keys.size());
  for (const int64_t row : sorted_rows(keys)) {
    order.push_back(places[static_cast<size_t>(row)]);
    result.keys.push_back(keys[static_cast<size_t>(row)]);
  }
  result.rows = gather(schema_, rows, order, "partition");
  result.owner = found;
  return result;
}

}  // namespace shoal::flow
