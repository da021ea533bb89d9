// Lines of a file, from a byte on: what readers of text stand on.
#pragma once

#include <arrow/io/interfaces.h>

#include <memory>
#include <string>
#include <string_view>

#include "flow/source.h"

namespace shoal::flow {

/// Goes on to the end of the file: its reader says where it stops. Belongs to one thread.
class Lines {
 public:
  /// Lines that begin at or after byte `begin`. Throws InputError when the file cannot be read, JobError when
  /// it is not as `file` says.
  Lines(const SourceFile& file, int64_t begin);
  ~Lines();

  /// The next line, without its end (\n or \r\n). Valid until the next call. False at the end.
  bool next(std::string_view& line);
  /// Where the line that next() gave begins, of the unpacked bytes.
  int64_t begin() const { return line_begin_; }
  const std::string& path() const { return file_.path; }
  /// The number of the line that begins at this byte, from 1: counts from the front of the file, for
  /// messages.
  static int64_t number_at(const SourceFile& file, int64_t byte);
  /// Throws JobError unless the file is still as it was.
  void expect_unchanged() const;

 private:
  bool fill();

  SourceFile file_;
  Input input_;
  std::shared_ptr<arrow::io::InputStream> unpacked_;  // of a packed file
  std::string buffer_;
  size_t at_ = 0;         // in buffer_
  int64_t buffer_begin_;  // of buffer_ in the file
  int64_t line_begin_ = 0;
  bool ended_ = false;
};

}  // namespace shoal::flow
