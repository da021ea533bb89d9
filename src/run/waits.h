// When a device waited for others: noted where it waits, looked at by the interpreter after each instruction.
#pragma once

#include <chrono>
#include <vector>

namespace shoal::run {

/// CLOCK_MONOTONIC: the same for all processes of a machine.
using Clock = std::chrono::steady_clock;
inline double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

struct Wait {
  static constexpr int kAll = -1;
  Clock::time_point begin, end;
  int rank = kAll;  // that was waited for
};

class Waits {
 public:
  /// Does `wait`, which returns when `rank` has come, or all have.
  template <class Do>
  void note(int rank, const Do& wait) {
    const Clock::time_point begin = Clock::now();
    wait();
    all_.push_back({begin, Clock::now(), rank});
  }
  void clear() { all_.clear(); }
  const std::vector<Wait>& all() const { return all_; }
  double total_seconds() const {
    double sum = 0;
    for (const Wait& wait : all_) sum += seconds(wait.end - wait.begin);
    return sum;
  }

 private:
  std::vector<Wait> all_;
};

}  // namespace shoal::run
