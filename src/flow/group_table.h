// Keys to numbers 0, 1, 2, ... in the order in which they are first seen.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "flow/short_copy.h"

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
    constexpr size_t kSlotBytes = 32;  // a part of where runs end, whatever a slot takes
    return static_cast<int64_t>(bytes_.size() + slots_for(offsets_.size() - 1) * kSlotBytes +
                                offsets_.size() * sizeof(size_t));
  }

  /// No key any more; memory is kept for the next.
  void clear() {
    bytes_.clear();
    offsets_.resize(1);
    std::fill(slots_.begin(), slots_.end(), Slot());
  }

  /// The number of the key, or -1.
  int64_t find(std::string_view key) const { return find(key, hash_of(key)); }

  int64_t find_or_add(std::string_view key) { return find_or_add(key, hash_of(key)); }

  /// groups[i] for each of keys[begin + i] below `end`: the same, without waiting for memory at each.
  template <class KeysType>
  void find_or_add_all(const KeysType& keys, int64_t begin, int64_t end, std::vector<int64_t>& groups) {
    for_all(keys, begin, end, groups, [this](std::string_view key, uint32_t hash) { return find_or_add(key, hash); });
  }
  /// The same of find().
  template <class KeysType>
  void find_all(const KeysType& keys, std::vector<int64_t>& groups) {
    for_all(keys, 0, keys.size(), groups, [this](std::string_view key, uint32_t hash) { return find(key, hash); });
  }

 private:
  // Small, for it is what the cache has: more groups than 32 bits count take more memory than a run.
  struct Slot {
    static constexpr uint32_t kFree = ~uint32_t{0};
    static constexpr uint64_t kLong = 0xffff;

    uint32_t hash = 0;
    uint32_t group = kFree;
    uint64_t key = 0;  // where it begins, and in the lower 16 bits its length: kLong, or less

    bool is_free() const { return group == kFree; }
    size_t begin() const { return key >> 16; }
    bool may_be(uint32_t hash_of_key, size_t length) const {
      return hash == hash_of_key && (key & kLong) == std::min<uint64_t>(length, kLong);
    }
  };

  static uint32_t hash_of(std::string_view key) { return static_cast<uint32_t>(hash_bits(key) >> 32); }

  /// At most half of the slots are taken.
  static size_t slots_for(size_t keys) {
    return keys == 0 ? 0 : std::max<size_t>(64, std::bit_ceil(2 * (keys + 1)));
  }

  template <class KeysType, class Look>
  void for_all(const KeysType& keys, int64_t begin, int64_t end, std::vector<int64_t>& groups, const Look& look) {
    constexpr size_t kFar = 24, kNear = 10;  // rows ahead: the slot, then the key it names
    const size_t rows = static_cast<size_t>(end - begin);
    hashes_.resize(rows);
    groups.resize(rows);
    for (size_t row = 0; row < rows; ++row) hashes_[row] = hash_of(keys[begin + static_cast<int64_t>(row)]);
    for (size_t row = 0; row < rows; ++row) {
      if (!slots_.empty()) {
        if (row + kFar < rows) __builtin_prefetch(&slots_[hashes_[row + kFar] & (slots_.size() - 1)]);
        if (row + kNear < rows)
          __builtin_prefetch(bytes_.data() + slots_[hashes_[row + kNear] & (slots_.size() - 1)].begin());
      }
      groups[row] = look(keys[begin + static_cast<int64_t>(row)], hashes_[row]);
    }
  }

  int64_t find(std::string_view key, uint32_t hash) const {
    if (slots_.empty()) return -1;
    for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.is_free()) return -1;
      if (is(slot, hash, key)) return slot.group;
    }
  }

  int64_t find_or_add(std::string_view key, uint32_t hash) {
    if ((offsets_.size() + 1) * 2 > slots_.size()) grow();
    size_t at = hash & (slots_.size() - 1);
    while (!slots_[at].is_free()) {
      if (is(slots_[at], hash, key)) return slots_[at].group;
      at = (at + 1) & (slots_.size() - 1);
    }
    slots_[at] = {hash, static_cast<uint32_t>(size()), bytes_.size() << 16 | std::min<uint64_t>(key.size(), Slot::kLong)};
    bytes_.append(key);
    offsets_.push_back(bytes_.size());
    return slots_[at].group;
  }

  bool is(const Slot& slot, uint32_t hash, std::string_view key) const {
    if (!slot.may_be(hash, key.size())) return false;
    if (key.size() >= Slot::kLong && this->key(slot.group).size() != key.size()) return false;
    return short_equal(bytes_.data() + slot.begin(), key.data(), key.size());
  }

  void grow() {
    std::vector<Slot> old(slots_for(offsets_.size()));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.is_free()) continue;
      size_t at = slot.hash & (slots_.size() - 1);
      while (!slots_[at].is_free()) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }

  std::string bytes_;
  std::vector<size_t> offsets_ = {0};
  std::vector<Slot> slots_;
  std::vector<uint32_t> hashes_;
};

}  // namespace shoal::flow
