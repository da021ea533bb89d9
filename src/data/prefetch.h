// The next value is made by a thread while the last one is used.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace shoal::data {

/// Values by number, in rounds of `period`: a device asks for some numbers of each round, and for those of
/// the next round in the same order. What followed a number in the round before is made in advance; a wrong
/// guess costs time and changes nothing, since make(i) depends on i alone. One caller; make runs on the
/// caller's thread or the other, never on both at once. What make throws leaves get(i), where i is asked for.
template <class Value>
class Prefetch {
 public:
  /// REQUIRES: period >= 1.
  Prefetch(std::function<Value(int64_t)> make, int64_t period)
      : make_(std::move(make)), period_(period), thread_([this] { work(); }) {}
  ~Prefetch() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  Value get(int64_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !wanted_; });  // until the thread rests
    std::optional<Value> value;
    if (made_ && made_->first == index) {
      value = std::move(made_->second);
      ++num_hits_;
    }
    made_.reset();
    if (!value) value = make_(index);
    if (last_) followed_by_[*last_ % period_] = index - *last_;
    last_ = index;
    const auto known = followed_by_.find(index % period_);
    wanted_ = index + (known == followed_by_.end() ? 1 : known->second);
    lock.unlock();
    changed_.notify_all();
    return std::move(*value);
  }

  /// How many values were there already when they were asked for.
  int64_t num_hits() const { return num_hits_; }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return ends_ || wanted_; });
      if (ends_) return;
      const int64_t index = *wanted_;
      lock.unlock();
      std::optional<Value> value;
      try {
        value = make_(index);
      } catch (...) {  // tried again, and thrown, where it is asked for
      }
      lock.lock();
      if (value) made_.emplace(index, std::move(*value));
      wanted_.reset();
      changed_.notify_all();
    }
  }

  std::function<Value(int64_t)> make_;
  int64_t period_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<int64_t> wanted_, last_;  // what the thread makes; what was asked for last
  std::optional<std::pair<int64_t, Value>> made_;
  std::map<int64_t, int64_t> followed_by_;  // by place in the round: how far the next number was
  int64_t num_hits_ = 0;
  bool ends_ = false;
  std::thread thread_;  // last, so that it finds the rest
};

}  // namespace shoal::data
