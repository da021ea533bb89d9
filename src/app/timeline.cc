#include "app/timeline.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/text.h"

namespace shoal::app {
namespace {

using Pass = lower::Turn::Pass;

struct Look {
  Pass pass;
  const char *colour, *name;
};
constexpr Look kLooks[] = {{Pass::kForward, "#8ecae6", "forward"},
                           {Pass::kBackward, "#f4a261", "backward"},
                           {Pass::kInputGradient, "#f4a261", "input gradients"},
                           {Pass::kWeightGradient, "#b7e4c7", "weight gradients"}};
constexpr double kWidth = 1200, kLeft = 90, kTop = 64, kRow = 34, kGap = 8, kBottom = 44;

std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}
std::string text_at(double x, double y, const std::string& words, const char* more = "") {
  return cat("<text x=\"", fixed(x), "\" y=\"", fixed(y), "\"", more, ">", words, "</text>\n");
}
std::string box(double x, double y, double width, double height, const char* colour) {
  return cat("<rect x=\"", fixed(x), "\" y=\"", fixed(y), "\" width=\"", fixed(width), "\" height=\"", fixed(height),
             "\" fill=\"", colour, "\" stroke=\"#ffffff\" stroke-width=\"0.8\"/>\n");
}
std::string escaped(const std::string& words) {
  std::string text;
  for (const char c : words) text += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return text;
}

}  // namespace

std::string timeline_svg(const lower::Grid& grid, const lower::Timeline& line, const std::string& title) {
  const double height = kTop + static_cast<double>(grid.size()) * (kRow + kGap) + kBottom;
  const double scale = line.length > 0 ? (kWidth - kLeft - 90) / line.length : 0;
  std::string svg = cat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", fixed(kWidth), "\" height=\"", fixed(height),
                        "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
  svg += text_at(12, 24, escaped(title), " font-size=\"15\" font-weight=\"bold\"");
  double x = kLeft;
  for (const Look& look : kLooks) {
    const bool is_used = std::ranges::any_of(
        grid, [&](const auto& turns) { return std::ranges::count(turns, look.pass, &lower::Turn::pass) > 0; });
    if (!is_used) continue;
    svg += box(x, 36, 14, 14, look.colour) + text_at(x + 19, 48, look.name);
    x += 140;
  }
  svg += box(x, 36, 14, 14, "#eeeeee") + text_at(x + 19, 48, "idle; the number is the microbatch's");
  for (size_t d = 0; d < grid.size(); ++d) {
    const double y = kTop + static_cast<double>(d) * (kRow + kGap);
    svg += text_at(12, y + kRow / 2 + 4, cat("device ", d)) + box(kLeft, y, line.length * scale, kRow, "#eeeeee");
    for (size_t t = 0; t < grid[d].size(); ++t) {
      const lower::Turn& turn = grid[d][t];
      const auto* look = std::ranges::find(kLooks, turn.pass, &Look::pass);
      const double begin = line.begins[d][t] * scale, width = (line.ends[d][t] - line.begins[d][t]) * scale;
      svg += box(kLeft + begin, y, width, kRow, look->colour);
      if (width >= 9)
        svg += text_at(kLeft + begin + width / 2, y + kRow / 2 + 4, cat(turn.microbatch), " text-anchor=\"middle\"");
    }
    const double idle = line.length > 0 ? 100 * (1 - line.busy[d] / line.length) : 0;
    svg += text_at(kLeft + line.length * scale + 8, y + kRow / 2 + 4, cat("idle ", fixed(idle), " %"));
  }
  return svg + "</svg>\n";
}

}  // namespace shoal::app
