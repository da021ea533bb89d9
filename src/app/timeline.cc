#include "app/timeline.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::app {
namespace {

struct Look {
  Work work;
  const char *colour, *name;
};
constexpr Look kLooks[] = {{Work::kForward, "#8ecae6", "forward"},
                           {Work::kBackward, "#f4a261", "backward"},
                           {Work::kInputGradient, "#f4a261", "input gradients"},
                           {Work::kWeightGradient, "#b7e4c7", "weight gradients"},
                           {Work::kCompute, "#8ecae6", "compute"},
                           {Work::kOther, "#a9b4c2", "load, send, exchange, add"},
                           {Work::kReduce, "#b392d6", "reduce"},
                           {Work::kUpdate, "#ffd166", "update"},
                           {Work::kGather, "#6a994e", "gather, fetch"},
                           {Work::kWait, "#f28f9b", "wait"}};
constexpr double kWidth = 1200, kLeft = 90, kRight = 90, kTop = 64, kRow = 34, kGap = 8, kBottom = 44;

Work work_of(lower::Turn::Pass pass) {
  switch (pass) {
    case lower::Turn::Pass::kForward:
      return Work::kForward;
    case lower::Turn::Pass::kInputGradient:
      return Work::kInputGradient;
    case lower::Turn::Pass::kWeightGradient:
      return Work::kWeightGradient;
    case lower::Turn::Pass::kBackward:
      break;
  }
  return Work::kBackward;
}

std::string fixed(double value, const char* format = "%.1f") {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}
std::string text_at(double x, double y, const std::string& words, const char* more = "") {
  return cat("<text x=\"", fixed(x), "\" y=\"", fixed(y), "\"", more, ">", words, "</text>\n");
}
// What is narrower than its white edge would be has none.
std::string box(double x, double y, double width, double height, const char* colour) {
  return cat("<rect x=\"", fixed(x, "%.2f"), "\" y=\"", fixed(y), "\" width=\"", fixed(width, "%.2f"),
             "\" height=\"", fixed(height), "\" fill=\"", colour, "\"",
             width > 3 ? " stroke=\"#ffffff\" stroke-width=\"0.8\"" : "", "/>\n");
}
std::string escaped(const std::string& words) {
  std::string text;
  for (const char c : words)
    text += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return text;
}

bool is_used(const Drawing& drawing, Work work) {
  return std::ranges::any_of(drawing.rows, [&](const Drawing::Row& row) {
    return std::ranges::find(row.boxes, work, &Drawing::Box::work) != row.boxes.end();
  });
}

}  // namespace

Drawing draw_schedule(const lower::Grid& grid, const lower::Timeline& line, const std::string& title) {
  Drawing drawing{.title = title, .length = line.length, .rows = {}};
  for (size_t d = 0; d < grid.size(); ++d) {
    Drawing::Row& row = drawing.rows.emplace_back(Drawing::Row{cat("device ", d), {}, line.busy[d]});
    for (size_t t = 0; t < grid[d].size(); ++t)
      row.boxes.push_back(
          {work_of(grid[d][t].pass), line.begins[d][t], line.ends[d][t], cat(grid[d][t].microbatch)});
  }
  return drawing;
}

std::string timeline_svg(const Drawing& drawing) {
  const double height = kTop + static_cast<double>(drawing.rows.size()) * (kRow + kGap) + kBottom;
  const double scale = drawing.length > 0 ? (kWidth - kLeft - kRight) / drawing.length : 0;
  std::string svg =
      cat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", fixed(kWidth), "\" height=\"", fixed(height),
          "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" "
          "fill=\"#ffffff\"/>\n");
  svg += text_at(12, 24, escaped(drawing.title), " font-size=\"15\" font-weight=\"bold\"");
  double x = kLeft;
  for (const Look& look : kLooks) {
    if (!is_used(drawing, look.work)) continue;
    svg += box(x, 36, 14, 14, look.colour) + text_at(x + 19, 48, look.name);
    x += 40 + 6 * static_cast<double>(std::strlen(look.name));
  }
  svg += box(x, 36, 14, 14, "#eeeeee") + text_at(x + 19, 48, "idle");
  svg += text_at(kWidth - 12, 24, "numbers are microbatches", " text-anchor=\"end\"");
  double y = kTop;
  for (const Drawing::Row& row : drawing.rows) {
    svg += text_at(12, y + kRow / 2 + 4, row.name) + box(kLeft, y, drawing.length * scale, kRow, "#eeeeee");
    for (const Drawing::Box& each : row.boxes) {
      const double begin = kLeft + each.begin * scale, width = (each.end - each.begin) * scale;
      svg += box(begin, y, width, kRow, std::ranges::find(kLooks, each.work, &Look::work)->colour);
      if (!each.label.empty() && width >= 9)
        svg += text_at(begin + width / 2, y + kRow / 2 + 4, each.label, " text-anchor=\"middle\"");
    }
    const double idle = drawing.length > 0 ? 100 * (1 - row.busy / drawing.length) : 0;
    svg += text_at(kLeft + drawing.length * scale + 8, y + kRow / 2 + 4, cat("idle ", fixed(idle), " %"));
    y += kRow + kGap;
  }
  return svg + "</svg>\n";
}

void write_timeline(const std::string& file, const Drawing& drawing) {
  std::ofstream stream(file);
  stream << timeline_svg(drawing);
  if (!stream.flush()) throw InputError(cat("--timeline ", file, " - cannot be written"));
}

}  // namespace shoal::app
