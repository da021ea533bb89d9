// Keys of one column begin alike (the byte that says "no null", often a word too), so a comparison of their
// first bytes would tell little: the eight bytes after what all have in common become a number, the numbers
// are sorted digit by digit, and only where they are equal the same is done with what follows.
#include "flow/key_order.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

namespace shoal::flow {
namespace {

struct Entry {
  uint64_t head;
  int64_t row;
};

constexpr size_t kVeryFew = 6;   // are sorted by comparing
constexpr size_t kFew = 256;     // by comparing their heads, and what follows where these are equal
constexpr int kMostRounds = 64;  // deeper keys are compared: rounds stand on the stack

class KeySorter {
 public:
  explicit KeySorter(const std::vector<std::string_view>& keys) : keys_(keys), entries_(keys.size()) {
    for (size_t i = 0; i < keys.size(); ++i) entries_[i].row = static_cast<int64_t>(i);
  }
  std::vector<int64_t> sort() {
    sort(entries_, 0, 0);
    std::vector<int64_t> rows(entries_.size());
    for (size_t i = 0; i < entries_.size(); ++i) rows[i] = entries_[i].row;
    return rows;
  }

 private:
  std::string_view key(const Entry& entry) const { return keys_[static_cast<size_t>(entry.row)]; }

  /// Of keys that have the first `depth` bytes in common.
  auto before(size_t depth) const {
    return [this, depth](const Entry& a, const Entry& b) {
      const int order = key(a).substr(depth).compare(key(b).substr(depth));
      return order != 0 ? order < 0 : a.row < b.row;
    };
  }

  /// Of entries in order of their rows, whose keys have the first `depth` bytes in common.
  void sort(std::span<Entry> entries, size_t depth, int round) {
    if (std::is_sorted(entries.begin(), entries.end(), before(depth))) return;
    if (entries.size() <= kVeryFew || round > kMostRounds) return sort_by_comparing(entries, depth);
    depth = common_length(entries, depth);
    bool goes_on = false;
    for (Entry& entry : entries) {
      const std::string_view text = key(entry);
      uint64_t head = 0;
      if (text.size() >= depth + sizeof head)
        std::memcpy(&head, text.data() + depth, sizeof head);
      else if (text.size() > depth)
        std::memcpy(&head, text.data() + depth, text.size() - depth);
      if constexpr (std::endian::native == std::endian::little) head = __builtin_bswap64(head);
      entry.head = head;
      goes_on = goes_on || text.size() > depth + sizeof head;
    }
    if (entries.size() <= kFew) {
      std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
        return a.head != b.head ? a.head < b.head : before(depth)(a, b);
      });
      return;
    }
    sort_by_heads(entries);
    for (size_t begin = 0; begin < entries.size();) {
      size_t end = begin + 1;
      while (end < entries.size() && entries[end].head == entries[begin].head) ++end;
      if (end - begin > 1) {
        const auto equal = entries.subspan(begin, end - begin);
        // what ended before its head did was filled with zeros: the shorter one comes first
        goes_on ? sort(equal, depth, round + 1, sizeof(uint64_t)) : sort_by_length(equal);
      }
      begin = end;
    }
  }
  void sort(std::span<Entry> entries, size_t depth, int round, size_t more) {
    for (const Entry& entry : entries)
      if (key(entry).size() < depth + more) return sort_by_comparing(entries, depth);
    sort(entries, depth + more, round);
  }

  void sort_by_comparing(std::span<Entry> entries, size_t depth) const {
    std::sort(entries.begin(), entries.end(), before(depth));
  }
  void sort_by_length(std::span<Entry> entries) const {
    bool is_needed = false;
    for (size_t i = 1; i < entries.size(); ++i)
      is_needed = is_needed || key(entries[i]).size() < key(entries[i - 1]).size();
    if (is_needed)
      std::stable_sort(entries.begin(), entries.end(),
                       [&](const Entry& a, const Entry& b) { return key(a).size() < key(b).size(); });
  }

  size_t common_length(std::span<const Entry> entries, size_t depth) const {
    const std::string_view first = key(entries[0]);
    size_t common = first.size();
    for (const Entry& entry : entries) {
      const std::string_view text = key(entry);
      size_t at = depth;
      const size_t most = std::min(common, text.size());
      while (at < most && text[at] == first[at]) ++at;
      common = at;
      if (common == depth) break;
    }
    return common;
  }

  /// Byte by byte from the last, those that all have in common left out; equal heads keep their order.
  void sort_by_heads(std::span<Entry> entries) {
    std::array<std::array<uint32_t, 256>, 8> counts{};
    for (const Entry& entry : entries)
      for (size_t digit = 0; digit < 8; ++digit) ++counts[digit][entry.head >> (8 * digit) & 255];
    spare_.resize(std::max(spare_.size(), entries.size()));
    std::span<Entry> from = entries, to = std::span(spare_).first(entries.size());
    for (size_t digit = 0; digit < 8; ++digit) {
      auto& count = counts[digit];
      if (count[from[0].head >> (8 * digit) & 255] == entries.size()) continue;
      uint32_t begin = 0;
      for (uint32_t& c : count) begin += std::exchange(c, begin);
      for (const Entry& entry : from) to[count[entry.head >> (8 * digit) & 255]++] = entry;
      std::swap(from, to);
    }
    if (from.data() != entries.data()) std::copy(from.begin(), from.end(), entries.begin());
  }

  const std::vector<std::string_view>& keys_;
  std::vector<Entry> entries_, spare_;
};

}  // namespace

std::vector<int64_t> sorted_rows(const std::vector<std::string_view>& keys) { return KeySorter(keys).sort(); }

}  // namespace shoal::flow
