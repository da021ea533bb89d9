#include <algorithm>

#include "base/text.h"
#include "flow/manifest.h"
#include "flow/source.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {
namespace fs = std::filesystem;

constexpr size_t kWidest = 32;  // of a cell

std::string cell(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) return "null";
  std::string text;
  append_value(text, column, row);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  if (text.size() <= kWidest) return text;
  size_t end = kWidest - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "...";
}

std::string table(const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths;
  for (const auto& line : lines)
    for (size_t c = 0; c < line.size(); ++c) {
      widths.resize(std::max(widths.size(), c + 1));
      widths[c] = std::max(widths[c], line[c].size());
    }
  std::string text;
  for (const auto& line : lines) {
    text += " ";
    for (size_t c = 0; c < line.size(); ++c)
      text += cat(" ", line[c], c + 1 < line.size() ? std::string(widths[c] - line[c].size() + 1, ' ') : "");
    text += "\n";
  }
  return text;
}

}  // namespace

std::string show(const fs::path& path, int64_t num_rows) {
  FlowRead read{.paths = {path.string()}, .bad_records = "skip"};
  std::string text;
  if (is_output(path)) {
    const OutputManifest manifest = load_output(path);
    read.format = manifest.format;
    read.paths.clear();
    int64_t bytes = 0, files = 0;
    for (const FileRecord& file : manifest.files) {
      if (!fs::path(file.file).filename().string().starts_with("part-")) continue;
      read.paths.push_back((path / file.file).string());
      bytes += file.bytes;
      ++files;
    }
    text = cat(path.string(), ": ", manifest.report.rows, " rows, ",
               human_bytes(static_cast<uint64_t>(bytes)), " in ", files, " files of ", manifest.format, "\n");
    std::vector<std::vector<std::string>> steps = {{"step", "rows in", "rows out"}};
    for (const FlowStepCount& step : manifest.report.steps)
      steps.push_back({step.step, cat(step.rows_in), cat(step.rows_out)});
    text += table(steps);
    if (manifest.report.bad_records > 0)
      text += cat("  ", manifest.report.bad_records,
                  " bad records; the first: ", manifest.report.first_bad_record, "\n");
  }
  const Source source(read, int64_t{1} << 20, path.string());
  if (text.empty())
    text = cat(path.string(), ": ", human_bytes(static_cast<uint64_t>(source.bytes())), " in ",
               source.files().size(), " files\n");
  std::vector<std::vector<std::string>> columns = {{"column", "type"}};
  for (const auto& field : source.schema()->fields())
    columns.push_back({field->name(), type_name(*field->type())});
  text += table(columns);

  std::vector<std::vector<std::string>> sample = {names_of(*source.schema())};
  BadRecords bad = source.policy();
  for (const SourcePart& part : source.parts()) {
    for (const Segment& segment : part.segments) {
      const auto reader = source.open(segment, bad);
      while (static_cast<int64_t>(sample.size()) <= num_rows) {
        const Batch batch = reader->next();
        if (!batch) break;
        for (int64_t row = 0; row < batch->num_rows() && static_cast<int64_t>(sample.size()) <= num_rows;
             ++row) {
          std::vector<std::string> line;
          for (const ArrayPtr& column : batch->columns()) line.push_back(cell(*column, row));
          sample.push_back(std::move(line));
        }
      }
    }
    if (static_cast<int64_t>(sample.size()) > num_rows) break;
  }
  return text + table(sample);
}

}  // namespace shoal::flow
