// DIR/metrics.jsonl: one line of JSON for each step of a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shoal::app {

struct Metrics {
  int64_t step = 0;  // steps done: the first line has 1
  float loss = 0;
  double grad_norm = 0, lr = 0;
  double tokens_per_second = 0, step_seconds = 0;
  std::vector<int64_t> peak_bytes;  // by rank
  std::optional<double> validation_loss;
};

/// One line, without its end. The loss is there twice: as a number, and as the 8 hexadecimal digits of its
/// bits.
std::string to_json(const Metrics&);

/// The file being written. Each line reaches the system before add() returns.
class MetricsFile {
 public:
  /// Keeps the lines of steps 1 to `steps_done` and drops the rest, as well as a line that a crash cut off.
  /// Throws JobError when the file cannot be written, here and below.
  MetricsFile(const std::filesystem::path& path, int64_t steps_done);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  void add(const Metrics&);

 private:
  std::filesystem::path path_;
  int descriptor_;
};

/// Writes a whole small file, by way of a new one beside it. Throws JobError.
void write_file(const std::filesystem::path& path, const std::string& text);

/// The most memory of this process that was resident at once.
int64_t peak_bytes();

}  // namespace shoal::app
