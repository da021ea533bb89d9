#include "app/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::app {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& path) {
  throw JobError(cat(path.string(), " - cannot be written: ", std::generic_category().message(errno)));
}

void write_all(int descriptor, const std::string& text, const fs::path& path) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(descriptor, text.data() + done, text.size() - done);
    if (count < 0 && errno != EINTR) refuse(path);
    if (count > 0) done += static_cast<size_t>(count);
  }
}

std::string kept_lines(const fs::path& path, int64_t steps_done) {
  std::ifstream stream(path);
  std::string kept;
  for (std::string line; std::getline(stream, line);) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) continue;
    if (json["step"].get<int64_t>() <= steps_done) kept += line + "\n";
  }
  return kept;
}

// JSON has no infinity.
nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace

std::string to_json(const Metrics& metrics) {
  char bits[9];
  std::snprintf(bits, sizeof bits, "%08x", std::bit_cast<uint32_t>(metrics.loss));
  nlohmann::ordered_json line = {
      {"step", metrics.step},
      {"loss", number(metrics.loss)},
      {"loss_bits", bits},
      {"grad_norm", number(metrics.grad_norm)},
      {"lr", metrics.lr},
      {"tokens_per_second", metrics.tokens_per_second},
      {"step_seconds", metrics.step_seconds},
      {"peak_bytes", metrics.peak_bytes},
  };
  if (metrics.validation_loss) line["validation_loss"] = number(*metrics.validation_loss);
  return line.dump();
}

MetricsFile::MetricsFile(const fs::path& path, int64_t steps_done) : path_(path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) write_file(path, kept_lines(path, steps_done));
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) refuse(path);
}

MetricsFile::~MetricsFile() { ::close(descriptor_); }

void MetricsFile::add(const Metrics& metrics) { write_all(descriptor_, to_json(metrics) + "\n", path_); }

void write_file(const fs::path& path, const std::string& text) {
  const fs::path beside = path.string() + ".new";
  const int descriptor = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) refuse(path);
  try {
    write_all(descriptor, text, path);
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  if (::close(descriptor) != 0 || ::rename(beside.c_str(), path.c_str()) != 0) refuse(path);
}

int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  status.imbue(std::locale::classic());
  for (std::string word; status >> word;) {
    if (word != "VmHWM:") continue;
    int64_t kibibytes = 0;
    status >> kibibytes;
    return kibibytes * 1024;
  }
  return 0;
}

}  // namespace shoal::app
