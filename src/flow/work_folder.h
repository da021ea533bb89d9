// The folder that a flow writes into, and the journal of what is done in its .work: what makes a run go on
// after any end.
//
//   OUT/.work/identity           what this work is: other input or steps, another text
//   OUT/.work/boot               since when the machine runs that it was begun on
//   OUT/.work/s0-p00003.done     stage 0's part 3 is done: what it counted, the runs it left, with checksums
//   OUT/.work/s0-p00003-r0.run   a run (runs.h)
//   OUT/.work/s0.used            stage 1 is done, stage 0's runs are no longer needed
//   OUT/.work/s0.next            how many parts of the stage were taken, in this run
//   OUT/part-00003.parquet, OUT/bad-00003.jsonl
//   OUT/manifest.json            written last; .work goes then
//
// Where OUT is s3://BUCKET/PREFIX, .work is in a folder of this machine: the one that FlowWrite::work names.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "comm/group.h"
#include "data/files.h"
#include "flow/files.h"
#include "flow/runs.h"
#include "flow/writers.h"

namespace shoal::flow {

/// What doing one part left.
struct PartRecord {
  std::vector<std::pair<int64_t, int64_t>>
      counts;  // rows in and out, of each operator, then of the exchange or the writer
  int64_t rows_in = 0, rows_read = 0, bytes = 0;  // rows_in: of a source, before weights
  int64_t bad_records = 0;
  std::string first_bad_record;
  std::vector<RunRecord> runs;
  std::vector<FileRecord> files;
};

/// Belongs to one device.
class WorkFolder {
 public:
  /// Collective. The folder that the flow writes is there, is nobody else's, and holds nothing, or work of
  /// this identity, which goes on, or is_finished(). Throws InputError. `own`: folders and files in it that
  /// are ours too; folders of these names are made.
  WorkFolder(comm::Group&, const FlowWrite&, const std::string& identity,
             const std::vector<std::string>& own = {});

  const std::filesystem::path& out() const { return out_; }
  const std::filesystem::path& work() const { return work_; }

  /// It holds the output of this identity already.
  bool is_finished() const { return finished_; }

  /// The next part of the stage that nobody took in this run.
  int64_t take_part(size_t stage);
  /// What an earlier run did of it; nothing when any of its files is not as it was written.
  std::optional<PartRecord> find(size_t stage, int64_t part) const;
  void record(size_t stage, int64_t part, const PartRecord&) const;
  /// REQUIRES: it is done.
  PartRecord load(size_t stage, int64_t part) const;

  /// Rank 0: the stage's runs may go.
  void drop_runs(size_t stage, const std::vector<RunRecord>& runs) const;
  /// Rank 0: all is done; the folder holds `wanted` and the manifest alone. Of S3 nothing is removed: throws
  /// JobError where something else came there meanwhile.
  void close(const std::string& manifest, const std::vector<std::string>& wanted) const;

 private:
  void prepare(const std::string& identity, const std::vector<std::string>& own);
  void keep_only(const std::set<std::string>& names) const;
  void drop_work() const;
  void drop_home() const;
  std::string part_name(size_t stage, int64_t part) const;
  std::filesystem::path out_, home_, work_;  // home: the folder of this machine that .work is in
  bool is_remote_, drops_home_;              // home was named by nobody: it goes with .work
  std::unique_ptr<data::FolderLock> lock_;
  bool finished_ = false;
};

std::string to_json(const PartRecord&);
PartRecord part_from_json(const std::string&);

}  // namespace shoal::flow
