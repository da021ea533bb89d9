// Runs on the disk: an Arrow IPC file whose last column is the key, in batches small enough to read a stretch
// of; and how the keys of all runs are cut into partitions of about equal bytes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "flow/exchange.h"

namespace shoal::flow {

/// A run as the journal keeps it.
struct RunRecord {
  std::string file;  // name in the work folder
  int64_t rows = 0, bytes = 0;
  std::string checksum;
  std::vector<std::string> first_keys;  // of each batch
};

/// Writes a run of about `run_bytes`. Throws JobError.
RunRecord write_run(const SortedRows&, const std::filesystem::path& folder, const std::string& name);

/// Keys from `begin` on, below `end`; no end: all that follow.
struct KeyRange {
  std::string begin, end;
  bool has_end = false;
};

/// What an exchange left.
struct StageRuns {
  const Exchange* exchange = nullptr;
  std::vector<RunRecord> runs;
};

/// Cuts the keys, of a join those of both sides, into partitions of about `part_bytes`. Depends on the runs
/// alone. At least one.
std::vector<KeyRange> cut_partitions(const std::vector<const StageRuns*>&, int64_t part_bytes);
/// Bytes of the runs in each partition, about.
std::vector<int64_t> partition_bytes(const std::vector<const StageRuns*>&, const std::vector<KeyRange>&);

/// The runs of one stage, for one device. Files stay mapped from one partition to the next, as far as a
/// process may have them open.
class RunReader {
 public:
  RunReader(const std::vector<RunRecord>& runs, std::filesystem::path folder, const SchemaPtr& run_schema);
  ~RunReader();
  /// The rows of the range, of all runs, by (key, run).
  SortedRows read(const KeyRange&);

 private:
  class File;
  const std::vector<RunRecord>& runs_;
  std::filesystem::path folder_;
  SchemaPtr schema_;
  std::vector<std::shared_ptr<File>> files_;
};

}  // namespace shoal::flow
