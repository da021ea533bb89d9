// Keys to numbers 0, 1, 2, ... in the order in which they are first seen.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace shoal::flow {

class GroupTable {
 public:
  int64_t size() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  std::string_view key(int64_t group) const {
    const size_t i = static_cast<size_t>(group);
    return std::string_view(bytes_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }
  /// What its keys need, whatever is kept besides: where a run ends must not depend on those before it.
  int64_t bytes() const {
    return static_cast<int64_t>(bytes_.size() + slots_for(offsets_.size() - 1) * sizeof(Slot) +
                                offsets_.size() * sizeof(size_t));
  }

  /// No key any more; memory is kept for the next.
  void clear() {
    bytes_.clear();
    offsets_.resize(1);
    std::fill(slots_.begin(), slots_.end(), Slot());
  }

  /// The number of the key, or -1.
  int64_t find(std::string_view key) const {
    if (slots_.empty()) return -1;
    const uint64_t hash = hash_bits(key);
    for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.group < 0) return -1;
      if (is(slot, hash, key)) return slot.group;
    }
  }

  int64_t find_or_add(std::string_view key) { return find_or_add(key, hash_bits(key)); }

  /// groups[row] for each of these keys: the same, without waiting for memory at each.
  template <class KeysType>
  void find_or_add_all(const KeysType& keys, std::vector<int64_t>& groups) {
    constexpr size_t kFar = 24, kNear = 10;  // rows ahead: the slot, then the key it names
    const size_t rows = static_cast<size_t>(keys.size());
    hashes_.resize(rows);
    groups.resize(rows);
    for (size_t row = 0; row < rows; ++row) hashes_[row] = hash_bits(keys[static_cast<int64_t>(row)]);
    for (size_t row = 0; row < rows; ++row) {
      if (!slots_.empty()) {
        if (row + kFar < rows) __builtin_prefetch(&slots_[hashes_[row + kFar] & (slots_.size() - 1)]);
        if (row + kNear < rows)
          __builtin_prefetch(bytes_.data() + slots_[hashes_[row + kNear] & (slots_.size() - 1)].begin);
      }
      groups[row] = find_or_add(keys[static_cast<int64_t>(row)], hashes_[row]);
    }
  }

 private:
  struct Slot {
    uint64_t hash = 0;
    int64_t group = -1;
    size_t begin = 0, length = 0;  // of the key: the slot is what the cache has
  };

  /// At most half of the slots are taken.
  static size_t slots_for(size_t keys) {
    return keys == 0 ? 0 : std::max<size_t>(64, std::bit_ceil(2 * (keys + 1)));
  }

  int64_t find_or_add(std::string_view key, uint64_t hash) {
    if ((offsets_.size() + 1) * 2 > slots_.size()) grow();
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].group >= 0) {
      if (is(slots_[at], hash, key)) return slots_[at].group;
      at = (at + 1) & (slots_.size() - 1);
    }
    slots_[at] = {hash, size(), bytes_.size(), key.size()};
    bytes_.append(key);
    offsets_.push_back(bytes_.size());
    return slots_[at].group;
  }

  bool is(const Slot& slot, uint64_t hash, std::string_view key) const {
    return slot.hash == hash && slot.length == key.size() &&
           equal(bytes_.data() + slot.begin, key.data(), key.size());
  }

  /// Keys are short: by words, the last of which may cover the one before, and without a call.
  static bool equal(const char* a, const char* b, size_t bytes) {
    const auto word = [](const char* from) {
      uint64_t bits;
      std::memcpy(&bits, from, sizeof bits);
      return bits;
    };
    if (bytes < sizeof(uint64_t)) return std::memcmp(a, b, bytes) == 0;
    for (size_t at = 0; at + sizeof(uint64_t) < bytes; at += sizeof(uint64_t))
      if (word(a + at) != word(b + at)) return false;
    return word(a + bytes - sizeof(uint64_t)) == word(b + bytes - sizeof(uint64_t));
  }

  void grow() {
    std::vector<Slot> old(slots_for(offsets_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.group < 0) continue;
      size_t at = slot.hash & (slots_.size() - 1);
      while (slots_[at].group >= 0) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }

  std::string bytes_;
  std::vector<size_t> offsets_ = {0};
  std::vector<Slot> slots_;
  std::vector<uint64_t> hashes_;
};

}  // namespace shoal::flow
