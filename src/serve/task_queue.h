// Work for a few threads, in the order in which it came, of which only so much may wait.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace shoal::serve {

class TaskQueue {
 public:
  TaskQueue(int threads, size_t most_waiting) : most_(most_waiting) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~TaskQueue() { stop(); }
  /// Waits for what runs; what waits is dropped, and what comes. REQUIRES: not called by a task.
  void stop() {
    std::deque<std::function<void()>> dropped;  // without the lock: what tasks hold may add others as it ends
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      dropped.swap(waiting_);
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  /// Any thread. False where too much waits already. The task must not throw.
  bool add(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_ || waiting_.size() >= most_) return false;
      waiting_.push_back(std::move(task));
    }
    changed_.notify_one();
    return true;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
      if (ending_) return;
      {
        const std::function<void()> task = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        task();
      }
      lock.lock();
    }
  }

  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace shoal::serve
