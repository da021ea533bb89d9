// Scratch space that calls lend from each other, so that an immutable object serves any number of threads and
// none of them starts from nothing.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

namespace shoal::text {

template <class T>
class Pool {
 public:
  /// One for the caller alone, as another left it, or new; it comes back when the lease ends.
  class Lease {
   public:
    explicit Lease(Pool& pool) : pool_(pool), value_(pool.take()) {}
    ~Lease() { pool_.give(std::move(value_)); }
    Lease(const Lease&) = delete;
    T& operator*() { return *value_; }
    T* operator->() { return value_.get(); }

   private:
    Pool& pool_;
    std::unique_ptr<T> value_;
  };

 private:
  std::unique_ptr<T> take() {
    {
      std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        auto value = std::move(idle_.back());
        idle_.pop_back();
        return value;
      }
    }
    return std::make_unique<T>();
  }
  void give(std::unique_ptr<T> value) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(value));
  }
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> idle_;
};

}  // namespace shoal::text
