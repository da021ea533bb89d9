// What the server counts, and /metrics says, in Prometheus' text format
// (https://prometheus.io/docs/instrumenting/exposition_formats). docs/serving.md lists the names.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "infer/engine.h"

namespace shoal::serve {

class Histogram {
 public:
  void add(double seconds);
  /// Lines of `name`_bucket, _sum and _count.
  std::string text(const std::string& name, const std::string& help) const;

 private:
  static constexpr std::array kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                         0.25,  0.5,    1.0,   2.5,  5.0,   10.0, 30.0};
  std::array<uint64_t, kBounds.size() + 1> counts_{};
  double sum_ = 0;
};

/// Any thread.
class Metrics {
 public:
  void request(const std::string& path, int status);
  void first_token(double seconds);
  void between_tokens(double seconds);
  void reload(bool done);
  /// `state`: of the engine; null while there is none.
  std::string text(const infer::EngineState* state, int connections) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;
  Histogram first_token_, between_tokens_;
  uint64_t reloads_ = 0, failed_reloads_ = 0;
};

}  // namespace shoal::serve
