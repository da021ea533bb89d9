#include "app/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/text.h"

namespace shoal::app {
namespace {

constexpr double kTerminalSeconds = 0.1, kPlainSeconds = 5;  // between two lines
constexpr size_t kDevicesInFull = 4;
constexpr const char* kClearLine = "\r\033[K";

template <class... Numbers>
std::string formatted(const char* format, Numbers... numbers) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, numbers...);
  return buffer;
}

std::string memory_text(const std::vector<int64_t>& bytes) {
  std::vector<std::string> each;
  for (const int64_t b : bytes) each.push_back(human_bytes(static_cast<uint64_t>(b)));
  if (each.size() <= kDevicesInFull) return join(each, ", ");
  const auto [least, most] = std::ranges::minmax_element(bytes);
  return cat(human_bytes(static_cast<uint64_t>(*least)), " to ", human_bytes(static_cast<uint64_t>(*most)));
}

}  // namespace

std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (int64_t i = static_cast<int64_t>(text.size()) - 3; i > (number < 0 ? 1 : 0); i -= 3)
    text.insert(static_cast<size_t>(i), ",");
  return text;
}

std::string human_seconds(double seconds) {
  const int64_t whole = std::llround(std::max(0.0, seconds));
  if (whole < 60) return cat(whole, " s");
  if (whole < 3600) return cat(whole / 60, formatted(" min %02d s", static_cast<int>(whole % 60)));
  return cat(whole / 3600, formatted(" h %02d min", static_cast<int>(whole / 60 % 60)));
}

std::string progress_line(const Moment& moment, const std::string& unit) {
  std::string line = cat("step ", moment.step, "/", moment.steps, formatted("  loss %.4f", moment.loss));
  if (moment.validation_loss) line += formatted("  validation %.4f", *moment.validation_loss);
  line += cat("  ", grouped(std::llround(moment.tokens_per_second)), " ", unit, "/s");
  line += cat("  ", human_seconds(moment.seconds_left), " left");
  if (!moment.peak_bytes.empty()) line += "  memory " + memory_text(moment.peak_bytes);
  return line;
}

Progress::~Progress() {
  if (line_is_open_) output_.write("\n");
}

void Progress::show(const Moment& moment, const std::string& unit, double now) {
  if (!output_.write) return;
  const double pause = output_.is_terminal ? kTerminalSeconds : kPlainSeconds;
  if (moment.step < moment.steps && shown_at_ && now - *shown_at_ < pause) return;
  shown_at_ = now;
  std::string line = progress_line(moment, unit);
  if (!output_.is_terminal) return output_.write(line + "\n");
  if (output_.columns > 1 && line.size() >= static_cast<size_t>(output_.columns))
    line.resize(static_cast<size_t>(output_.columns) - 1);
  output_.write(kClearLine + line);
  line_is_open_ = true;
}

void Progress::say(const std::string& lines) {
  if (!output_.write) return;
  if (line_is_open_) output_.write("\n");
  line_is_open_ = false;
  output_.write(lines);
}

}  // namespace shoal::app
