// A table that is used again: the system gives new memory with zeros in it, and one that is large already need not
// grow.
#pragma once

#include <functional>
#include <memory>
#include <utility>

namespace shoal::flow {

/// T has clear(), which keeps its memory. One thread; outlives what it gives.
template <class T>
class Spare {
 public:
  explicit Spare(std::function<std::unique_ptr<T>()> make) : make_(std::move(make)) {}
  /// An empty one. It comes back, cleared, when the last pointer to it goes.
  std::shared_ptr<T> take() {
    if (!spare_) spare_ = make_();
    return {spare_.release(), [this](T* used) {
              used->clear();
              spare_.reset(used);
            }};
  }
  /// Gives its memory back, where no more are wanted.
  void release() { spare_.reset(); }

 private:
  std::function<std::unique_ptr<T>()> make_;
  std::unique_ptr<T> spare_;
};

}  // namespace shoal::flow
