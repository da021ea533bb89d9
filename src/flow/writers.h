// Rows to files.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "flow/arrow.h"
#include "shoal/flow.h"

namespace shoal::flow {

/// A file as the manifest names it.
struct FileRecord {
  std::string file;
  int64_t rows = 0, bytes = 0;
  std::string checksum;
};

/// Of one file, which is at its place once finish() returned. One thread. Throws JobError.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void write(const Batch&) = 0;
  virtual FileRecord finish() = 0;
};

/// Throws InputError "place: ..." when the format is none, or cannot hold these columns.
void check_writable(const std::string& format, const arrow::Schema&, const std::string& place);
/// "part-00003.parquet".
std::string output_name(int64_t part, const std::string& format);
std::unique_ptr<Writer> make_writer(const std::string& format, const SchemaPtr&,
                                    const std::filesystem::path& folder, const std::string& name);

/// One value as text: numbers in the fewest digits that give them back, text as it is. Null: "".
void append_value(std::string& out, const arrow::Array&, int64_t row);

}  // namespace shoal::flow
