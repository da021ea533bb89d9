// What a flow reads: files, in a fixed order, cut into parts by place. How it is cut depends on the files and
// on part_bytes only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "flow/arrow.h"
#include "flow/input.h"
#include "shoal/flow.h"

namespace shoal::flow {

enum class Format { kText, kJsonl, kCsv, kTsv, kParquet, kIpc, kFastq, kFasta, kImages };
enum class Packing { kNone, kGzip, kZstd };

struct SourceFile {
  std::string path;
  Input::State state;
  Packing packing = Packing::kNone;
};

/// A stretch of one file: bytes, of Parquet row groups, of IPC batches.
struct Segment {
  int64_t file;
  int64_t begin, end;
};

/// What one device reads at a time.
struct SourcePart {
  std::vector<Segment> segments;
  int64_t bytes = 0;
};

/// Records that are not what they should be.
struct BadRecords {
  bool stop = true, collect = false;
  int64_t count = 0;
  std::string first;
  std::string lines;  // JSON, one a record, when collected

  /// Throws InputError where the policy is to stop. Line 0: the record is the whole file.
  void add(const std::string& path, int64_t line, int64_t byte, const std::string& why,
           std::string_view record);
};

/// Rows of one segment, a batch at a time.
class Reader {
 public:
  virtual ~Reader() = default;
  virtual Batch next() = 0;  // null at the end
};

/// How much input makes a part. Where parts may be larger, the first have a large share of what there is and each that
/// follows a smaller one: so they are few, and devices that share them end together all the same.
struct PartSize {
  int64_t least;  // bytes
  bool may_be_larger;
  PartSize(int64_t least_bytes, bool larger = false) : least(least_bytes), may_be_larger(larger) {}
  /// Of a part with so much before it.
  int64_t at(int64_t done, int64_t total) const;
};

/// Immutable; any thread.
class Source {
 public:
  /// Lists the files, opens the first to know the columns. Throws InputError.
  Source(const FlowRead&, const PartSize&, const std::string& place);

  /// Only these are given from here on; not of sequences and images, which have few.
  void keep_columns(const Names&);

  const SchemaPtr& schema() const { return schema_; }
  const std::vector<SourceFile>& files() const { return files_; }
  const std::vector<SourcePart>& parts() const { return parts_; }
  Format format() const { return format_; }
  int64_t bytes() const;
  const FlowRead& spec() const { return spec_; }

  /// The rows of a segment. Throws JobError when the file is no longer as it was listed.
  std::unique_ptr<Reader> open(const Segment&, BadRecords&) const;
  BadRecords policy() const;
  /// A line that changes when the files do, or what is read of them.
  std::string identity() const;

 private:
  FlowRead spec_;
  std::string place_;
  Format format_ = Format::kText;
  SchemaPtr schema_, file_schema_;  // of what is read, of all that there is
  std::vector<SourceFile> files_;
  std::vector<SourcePart> parts_;
};

/// Whether what has this path within a folder is an input: not hidden, and nothing that a flow keeps beside its
/// rows.
bool is_input_name(const std::string& path);

/// The paths that are meant, in order: folders and globs give their files by path. Throws InputError for what
/// is not there.
std::vector<std::string> list_files(const std::vector<std::string>& paths, const std::string& place);

}  // namespace shoal::flow
