// Rows to files.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "flow/arrow.h"
#include "shoal/flow.h"

namespace shoal::text {
class Tokenizer;
}

namespace shoal::flow {

/// A file as the manifest names it.
struct FileRecord {
  std::string file;
  int64_t rows = 0, bytes = 0;
  std::string checksum;
};

/// Of a part's files, which are at their places once finish() returned. One thread. Throws JobError.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void write(const Batch&) = 0;
  virtual std::vector<FileRecord> finish() = 0;
};

/// Throws InputError "place: ..." when the format is none, or cannot hold these columns.
void check_writable(const FlowWrite&, const arrow::Schema&, const std::string& place);
/// Whether the output is a store: its splits are files of one folder, and its manifest has the flow's inside.
bool makes_store(const FlowWrite&);
/// "part-00003.parquet".
std::string output_name(int64_t part, const std::string& format);
/// Of what `part` of the last stage gives; `split`: the part of a split that it is, "" without.
/// `tokenizer`: of format tokens alone.
std::unique_ptr<Writer> make_writer(const FlowWrite&, const text::Tokenizer* tokenizer, const SchemaPtr&,
                                    const std::filesystem::path& out, const std::string& split, int64_t part);

/// One value as text: numbers in the fewest digits that give them back, text as it is. Null: "".
void append_value(std::string& out, const arrow::Array&, int64_t row);

}  // namespace shoal::flow
