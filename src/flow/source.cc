#include "flow/source.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "flow/readers.h"
#include "flow/records.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr std::pair<const char*, Format> kFormats[] = {
    {"text", Format::kText},
    {"jsonl", Format::kJsonl},
    {"csv", Format::kCsv},
    {"tsv", Format::kTsv},
    {"parquet", Format::kParquet},
    {"ipc", Format::kIpc},
    {"fastq", Format::kFastq},
    {"fasta", Format::kFasta},
    {"images", Format::kImages},
    // other suffixes of the same
    {"txt", Format::kText},
    {"ndjson", Format::kJsonl},
    {"arrow", Format::kIpc},
    {"feather", Format::kIpc},
    {"fq", Format::kFastq},
    {"fa", Format::kFasta},
    {"fna", Format::kFasta},
    {"png", Format::kImages},
    {"jpg", Format::kImages},
    {"jpeg", Format::kImages},
};

bool is_columnar(Format format) { return format == Format::kParquet || format == Format::kIpc; }

Packing packing_of(const std::string& path) {
  if (path.ends_with(".gz")) return Packing::kGzip;
  if (path.ends_with(".zst")) return Packing::kZstd;
  return Packing::kNone;
}

Format format_of(const std::string& named, const std::string& first_path, const std::string& place) {
  std::string word = named;
  if (word.empty()) {
    std::string name = first_path.substr(first_path.rfind('/') + 1);
    if (packing_of(name) != Packing::kNone) name.resize(name.rfind('.'));
    const size_t dot = name.rfind('.');
    word = dot == std::string::npos ? name : name.substr(dot + 1);
  }
  for (const auto& [known, format] : kFormats)
    if (word == known) return format;
  throw InputError(cat(place, ": format: got ", word,
                       named.empty() ? cat(" (the suffix of ", first_path, ")") : "",
                       ", want text, jsonl, csv, tsv, parquet, ipc, fastq, fasta or images"));
}

/// Puts pieces into parts until one is full; a piece is never divided, a small file shares a part with the
/// next ones.
class Cutter {
 public:
  Cutter(const PartSize& size, int64_t total) : size_(size), total_(total), part_bytes_(size.at(0, total)) {}
  /// What fits into a part that begins here.
  int64_t next_bytes() const { return size_.at(done_, total_); }
  void add(Segment segment, int64_t bytes) {
    if (parts_.empty() || (parts_.back().bytes > 0 && parts_.back().bytes + bytes > part_bytes_)) {
      parts_.emplace_back();
      part_bytes_ = next_bytes();
    }
    done_ += bytes;
    SourcePart& part = parts_.back();
    if (!part.segments.empty() && part.segments.back().file == segment.file &&
        part.segments.back().end == segment.begin)
      part.segments.back().end = segment.end;
    else
      part.segments.push_back(segment);
    part.bytes += bytes;
  }
  std::vector<SourcePart> parts() { return parts_.empty() ? std::vector<SourcePart>(1) : std::move(parts_); }

 private:
  const PartSize size_;
  const int64_t total_;
  int64_t part_bytes_, done_ = 0;
  std::vector<SourcePart> parts_;
};

}  // namespace

void BadRecords::add(const std::string& path, int64_t line, int64_t byte, const std::string& why,
                     std::string_view record) {
  if (stop)
    throw InputError(cat(path, line > 0 ? cat(":", line) : "", " - ", why,
                         "; mend it, or set bad_records to skip or collect"));
  if (count++ == 0) first = cat(path, ", byte ", byte, ": ", why);
  if (!collect) return;
  lines += "{\"file\":";
  append_json_text(lines, path);
  lines += cat(",\"byte\":", byte, ",\"why\":");
  append_json_text(lines, why);
  lines += ",\"record\":";
  std::string shown(record);
  if (!is_utf8(shown))
    for (char& c : shown)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  append_json_text(lines, shown);
  lines += "}\n";
}

int64_t PartSize::at(int64_t done, int64_t total) const {
  constexpr int64_t kShare = 8, kMost = 64;  // of what is left; of the small ones at the end
  return may_be_larger ? std::max({least, (total - done) / kShare, total / kMost}) : least;
}

Source::Source(const FlowRead& spec, const PartSize& part_size, const std::string& place)
    : spec_(spec), place_(place) {
  if (spec.bad_records != "stop" && spec.bad_records != "skip" && spec.bad_records != "collect")
    throw InputError(cat(place, ": bad_records: got ", spec.bad_records, ", want stop, skip or collect"));
  const std::vector<std::string> paths = list_files(spec.paths, place);
  format_ = format_of(spec.format, paths.front(), place);
  for (const std::string& path : paths) {
    const Packing packing =
        is_columnar(format_) || format_ == Format::kImages ? Packing::kNone : packing_of(path);
    files_.push_back({path, Input(path).state(), packing});
  }
  if (is_columnar(format_))
    schema_ = schema_of_columnar(files_.front(), format_, place);
  else if (format_ == Format::kFastq || format_ == Format::kFasta)
    schema_ = schema_of_sequences(format_);
  else if (format_ == Format::kImages)
    schema_ = schema_of_images();
  else
    schema_ = schema_of_records(files_.front(), format_, spec, place);
  std::set<std::string> names;
  for (const std::string& name : names_of(*schema_))
    if (!names.insert(name).second)
      throw InputError(cat(place, ": ", files_.front().path, ": two columns have the name ", name));

  file_schema_ = schema_;

  std::vector<std::vector<int64_t>> sizes(files_.size());  // of row groups or batches
  int64_t total = 0;
  for (size_t f = 0; f < files_.size(); ++f) {
    if (is_columnar(format_)) sizes[f] = sizes_of_columnar(files_[f], format_);
    for (const int64_t size : sizes[f]) total += size;
    if (!is_columnar(format_)) total += files_[f].state.bytes;
  }
  Cutter cutter(part_size, total);
  for (int64_t f = 0; f < static_cast<int64_t>(files_.size()); ++f) {
    const SourceFile& file = files_[static_cast<size_t>(f)];
    if (is_columnar(format_)) {
      for (int64_t i = 0; const int64_t size : sizes[static_cast<size_t>(f)]) {
        cutter.add({f, i, i + 1}, size);
        ++i;
      }
    } else if (file.packing != Packing::kNone || format_ == Format::kImages) {
      cutter.add({f, 0, INT64_MAX}, file.state.bytes);
    } else {
      for (int64_t begin = 0, end = 0; begin < file.state.bytes; begin = end) {
        end = std::min(begin + cutter.next_bytes(), file.state.bytes);
        cutter.add({f, begin, end}, end - begin);
      }
    }
  }
  parts_ = cutter.parts();
}

void Source::keep_columns(const Names& names) {
  if (format_ == Format::kImages || format_ == Format::kFastq || format_ == Format::kFasta) return;
  arrow::FieldVector kept;
  for (const auto& field : file_schema_->fields())
    if (names.contains(field->name())) kept.push_back(field);
  if (kept.empty() && file_schema_->num_fields() > 0)
    kept.push_back(file_schema_->field(0));  // rows are counted
  schema_ = arrow::schema(kept);
}

int64_t Source::bytes() const {
  int64_t bytes = 0;
  for (const SourcePart& part : parts_) bytes += part.bytes;
  return bytes;
}

std::unique_ptr<Reader> Source::open(const Segment& segment, BadRecords& bad) const {
  const SourceFile& file = files_[static_cast<size_t>(segment.file)];
  if (is_columnar(format_)) return read_columnar(file, segment, format_, file_schema_, schema_);
  if (format_ == Format::kImages) return read_image(file, schema_, bad);
  if (format_ == Format::kFastq || format_ == Format::kFasta)
    return read_sequences(file, segment, format_, schema_, bad);
  return read_records(file, segment, format_, spec_, file_schema_, schema_, bad);
}

BadRecords Source::policy() const {
  BadRecords bad;
  bad.stop = spec_.bad_records == "stop";
  bad.collect = spec_.bad_records == "collect";
  return bad;
}

std::string Source::identity() const {
  std::string text = cat("read ", static_cast<int>(format_), " ", spec_.header, " ", spec_.bad_records, "\n",
                         file_schema_->ToString(), "\n");
  for (const SourceFile& file : files_)
    text += cat(file.path, " ", file.state.bytes, " ", file.state.modified_ns, "\n");
  return text;
}

}  // namespace shoal::flow
