// What aggregates keep of each group in a few bytes, those of all aggregates side by side: a row is one visit to memory
// for all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace shoal::flow {

/// Columns are added before there are groups.
class GroupStates {
 public:
  /// The states of one aggregate, by group. All zero bits: a new group's.
  template <class State>
  class Column {
   public:
    State& operator[](int64_t group) const {
      return *reinterpret_cast<State*>(base_ + static_cast<size_t>(group) * stride_);
    }

   private:
    friend class GroupStates;
    Column(std::byte* base, size_t stride) : base_(base), stride_(stride) {}
    std::byte* base_;
    size_t stride_;
  };

  /// Where the states of one aggregate stand.
  template <class State>
  struct Place {
    size_t offset;
  };
  template <class State>
  Place<State> add_column() {
    static_assert(std::is_trivially_copyable_v<State> && alignof(State) <= alignof(uint64_t));
    const size_t offset = stride_;
    stride_ += (sizeof(State) + alignof(uint64_t) - 1) / alignof(uint64_t) * alignof(uint64_t);
    return {offset};
  }
  /// Until the next resize().
  template <class State>
  Column<State> column(Place<State> place) {
    return {bytes_.data() + place.offset, stride_};
  }

  void resize(int64_t groups) { bytes_.resize(static_cast<size_t>(groups) * stride_); }
  /// No group any more; memory is kept for the next.
  void clear() { bytes_.clear(); }

 private:
  std::vector<std::byte> bytes_;
  size_t stride_ = 0;
};

}  // namespace shoal::flow
