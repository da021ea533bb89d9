#include <algorithm>

#include "base/text.h"
#include "flow/manifest.h"

namespace shoal::flow {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out.push_back(c);
  }
  return out;
}

/// 1234567: "1,234,567".
std::string grouped(int64_t number) {
  std::string digits = cat(number);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>shoal data</title><style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1b2733; margin: 2.5em auto; max-width: 62em; padding: 0 1em }
h1 { font-size: 1.4em; margin-bottom: 0 } p.sum { color: #5a6b7b; margin-top: .3em }
table { border-collapse: collapse; width: 100%; margin: 1.2em 0 } th { text-align: left; color: #5a6b7b; font-weight: 600 }
th, td { padding: .35em .7em; border-bottom: 1px solid #e3e8ee; vertical-align: top } .n { text-align: right; font-variant-numeric: tabular-nums }
td.step { font-family: ui-monospace, monospace; font-size: .9em } .bar { background: #2f7ebc; height: .7em; border-radius: 2px; min-width: 1px }
.bad { color: #a3341c } td.w { width: 22% }
</style></head><body>
)";

}  // namespace

std::string report_page(const OutputManifest& manifest) {
  const FlowReport& report = manifest.report;
  int64_t bytes = 0, most = 1;
  for (const FileRecord& file : manifest.files) bytes += file.bytes;
  for (const FlowStepCount& step : report.steps) most = std::max({most, step.rows_in, step.rows_out});
  std::string page = kHead;
  page += cat("<h1>Rows from step to step</h1>\n<p class=\"sum\">", grouped(report.rows), " rows in ",
              manifest.files.size(), " files of ", escaped(manifest.format), ", ",
              human_bytes(static_cast<uint64_t>(bytes)),
              "</p>\n<table><tr><th>step</th><th class=\"n\">rows in</th><th class=\"n\">rows out</th>",
              "<th class=\"n\">dropped</th><th></th></tr>\n");
  for (const FlowStepCount& step : report.steps) {
    const int64_t dropped = step.rows_in - step.rows_out;
    page += cat("<tr><td class=\"step\">", escaped(step.step), "</td><td class=\"n\">", grouped(step.rows_in),
                "</td><td class=\"n\">", grouped(step.rows_out), "</td><td class=\"n\">",
                dropped > 0
                    ? cat(grouped(dropped), " (", dropped * 100 / std::max<int64_t>(step.rows_in, 1), " %)")
                    : "",
                "</td><td class=\"w\"><div class=\"bar\" style=\"width:", step.rows_out * 100 / most,
                "%\"></div></td></tr>\n");
  }
  page += "</table>\n";
  if (report.bad_records > 0)
    page += cat("<p class=\"bad\">", grouped(report.bad_records),
                " bad records left out; the first: ", escaped(report.first_bad_record), "</p>\n");
  page += "<table><tr><th>column</th><th>type</th></tr>\n";
  for (const auto& [name, type] : manifest.columns)
    page += cat("<tr><td class=\"step\">", escaped(name), "</td><td>", escaped(type), "</td></tr>\n");
  page +=
      "</table>\n<table><tr><th>file</th><th class=\"n\">rows</th><th "
      "class=\"n\">bytes</th><th>checksum</th></tr>\n";
  for (const FileRecord& file : manifest.files)
    page += cat("<tr><td class=\"step\">", file.file, "</td><td class=\"n\">", grouped(file.rows),
                "</td><td class=\"n\">", grouped(file.bytes), "</td><td class=\"step\">", file.checksum,
                "</td></tr>\n");
  return page + "</table>\n</body></html>\n";
}

}  // namespace shoal::flow
