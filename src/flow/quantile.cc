#include "flow/quantile.h"

#include <arrow/compute/api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "flow/key.h"

namespace shoal::flow {
namespace {

constexpr int kCellShift = 52 - kFractionBits;

/// Cells in the order of their numbers.
uint32_t cell_of(double x) { return static_cast<uint32_t>(order_bits(x) >> kCellShift); }

/// The end of the cell that is nearer to zero.
double value_of(uint32_t cell) {
  uint64_t bits = uint64_t{cell} << kCellShift;
  if (bits >> 63) return std::bit_cast<double>(bits & ~(uint64_t{1} << 63));
  bits |= (uint64_t{1} << kCellShift) - 1;  // a negative number's order bits are inverted
  return std::bit_cast<double>(~bits);
}

struct Count {
  uint32_t cell;
  int64_t count;
};

/// (group, cell) to how many: one table for all groups.
class Counts {
 public:
  void add(int64_t group, uint32_t cell, int64_t count) {
    if ((used_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = find(static_cast<uint64_t>(group), cell);
    used_ += slot.count == 0;
    slot = {static_cast<uint64_t>(group), cell, slot.count + count};
  }
  int64_t bytes() const { return static_cast<int64_t>(slots_.size() * sizeof(Slot)); }
  /// Each group's, by cell.
  std::vector<std::vector<Count>> by_group(size_t groups) const {
    std::vector<std::vector<Count>> all(groups);
    for (const Slot& slot : slots_)
      if (slot.count > 0) all[slot.group].push_back({slot.cell, slot.count});
    for (auto& counts : all)
      std::sort(counts.begin(), counts.end(), [](const Count& a, const Count& b) { return a.cell < b.cell; });
    return all;
  }

 private:
  struct Slot {
    uint64_t group = 0;
    uint32_t cell = 0;
    int64_t count = 0;  // none: the slot is free
  };
  Slot& find(uint64_t group, uint32_t cell) {
    uint64_t hash = (group << 20 ^ cell) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
    for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[at];
      if (slot.count == 0 || (slot.group == group && slot.cell == cell)) return slot;
    }
  }
  void grow() {
    std::vector<Slot> old(slots_.empty() ? 256 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.count > 0) find(slot.group, slot.cell) = slot;
  }
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

class Quantile final : public Accumulator {
 public:
  Quantile(double fraction, std::string place) : fraction_(fraction), place_(std::move(place)) {}

  void resize(int64_t groups) override { ends_.resize(static_cast<size_t>(groups)); }
  void clear() override {
    ends_.clear();
    counts_ = Counts();
  }

  void add(const arrow::Array* column, const std::vector<int64_t>& groups) override {
    const ArrayPtr cast =
        value(arrow::compute::Cast(*column, arrow::float64(), arrow::compute::CastOptions::Unsafe()), place_);
    const auto& numbers = static_cast<const arrow::DoubleArray&>(*cast);
    for (size_t row = 0; row < groups.size(); ++row) {
      if (numbers.IsNull(static_cast<int64_t>(row))) continue;
      const double x = numbers.Value(static_cast<int64_t>(row));
      counts_.add(groups[row], cell_of(x), 1);
      see(groups[row], order_bits(x), order_bits(x));
    }
  }

  /// A partial: the least and the largest number's bits, then each cell and its count.
  std::vector<ArrayPtr> partial(const std::vector<int64_t>& order) const override {
    const auto all = counts_.by_group(ends_.size());
    arrow::BinaryBuilder out;
    std::string packed;
    for (const int64_t group : order) {
      packed.clear();
      if (!all[static_cast<size_t>(group)].empty()) append(packed, ends_[static_cast<size_t>(group)]);
      for (const Count& count : all[static_cast<size_t>(group)]) {
        append(packed, count.cell);
        append(packed, count.count);
      }
      require(out.Append(packed), place_);
    }
    return {value(out.Finish(), place_)};
  }

  void merge(const std::vector<const arrow::Array*>& partial, int64_t begin, int64_t end,
             int64_t group) override {
    for (int64_t row = begin; row < end; ++row) {
      std::string_view packed = static_cast<const arrow::BinaryArray&>(*partial[0]).GetView(row);
      if (packed.empty()) continue;
      const auto [least, largest] = take<Ends>(packed);
      see(group, least, largest);
      while (!packed.empty()) {
        const uint32_t cell = take<uint32_t>(packed);
        counts_.add(group, cell, take<int64_t>(packed));
      }
    }
  }

  ArrayPtr final(const std::vector<int64_t>& order) const override {
    const auto all = counts_.by_group(ends_.size());
    arrow::DoubleBuilder out;
    for (const int64_t group : order) {
      const auto& counts = all[static_cast<size_t>(group)];
      require(
          counts.empty() ? out.AppendNull() : out.Append(answer(counts, ends_[static_cast<size_t>(group)])),
          place_);
    }
    return value(out.Finish(), place_);
  }

  int64_t extra_bytes() const override { return counts_.bytes(); }

 private:
  struct Ends {
    uint64_t least = ~uint64_t{0}, largest = 0;
  };

  void see(int64_t group, uint64_t least, uint64_t largest) {
    Ends& ends = ends_[static_cast<size_t>(group)];
    ends = {std::min(ends.least, least), std::max(ends.largest, largest)};
  }

  double answer(const std::vector<Count>& counts, const Ends& ends) const {
    int64_t total = 0;
    for (const Count& count : counts) total += count.count;
    const int64_t rank = std::clamp<int64_t>(
        static_cast<int64_t>(std::ceil(fraction_ * static_cast<double>(total))), 1, total);
    size_t at = 0;
    for (int64_t seen = counts[0].count; seen < rank; seen += counts[at].count) ++at;
    const double x = value_of(counts[at].cell);
    if (order_bits(x) < ends.least) return real_of_bits(ends.least);
    return order_bits(x) > ends.largest ? real_of_bits(ends.largest) : x;
  }

  template <class T>
  static void append(std::string& out, const T& x) {
    out.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  template <class T>
  static T take(std::string_view& from) {
    T x;
    std::memcpy(&x, from.data(), sizeof x);
    from.remove_prefix(sizeof x);
    return x;
  }

  double fraction_;
  std::string place_;
  Counts counts_;
  std::vector<Ends> ends_;
};

}  // namespace

std::unique_ptr<Accumulator> make_quantile(double fraction, const std::string& place) {
  return std::make_unique<Quantile>(fraction, place);
}

}  // namespace shoal::flow
