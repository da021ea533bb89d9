// The line that tells how a run is getting on.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace shoal::app {

struct Moment {
  int64_t step = 0, steps = 0;  // done, in all
  double loss = 0;
  std::optional<double> validation_loss;  // the last one
  double tokens_per_second = 0;           // lately
  double seconds_left = 0;
  std::vector<int64_t> peak_bytes;  // by device
};

/// "step 120/600  loss 2.3140  validation 2.4021  12,345 tokens/s  1 min 20 s left  memory 310 MiB, 305 MiB"
std::string progress_line(const Moment&, const std::string& unit);

/// "1 h 02 min", "3 min 20 s", "12 s".
std::string human_seconds(double seconds);
/// "1,234,567".
std::string grouped(int64_t number);

/// On a terminal one line that is written over and over; elsewhere a line every few seconds. Time is given by
/// the caller, in seconds from anywhere. The default says nothing.
class Progress {
 public:
  struct Output {
    std::function<void(const std::string&)> write;
    bool is_terminal = false;
    int columns = 80;
  };
  Progress() = default;
  explicit Progress(Output output) : output_(std::move(output)) {}
  /// Ends an open line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows the moment when it is time to, and always the last step.
  void show(const Moment&, const std::string& unit, double now);
  /// Whole lines, above the progress line.
  void say(const std::string& lines);

 private:
  Output output_;
  bool line_is_open_ = false;
  std::optional<double> shown_at_;
};

}  // namespace shoal::app
