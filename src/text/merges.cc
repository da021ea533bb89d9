#include "text/merges.h"

#include <algorithm>
#include <bit>

#include "base/shown.h"
#include "base/text.h"
#include "shoal/error.h"

namespace shoal::text {

MergeTable::MergeTable(size_t num_merges) : entries_(std::bit_ceil(2 * num_merges + 2)) {}

size_t MergeTable::place(uint64_t pair) const {
  const uint64_t mask = entries_.size() - 1;
  uint64_t mixed = (pair ^ pair >> 29) * 0x9E3779B97F4A7C15u;
  uint64_t at = (mixed ^ mixed >> 32) & mask;
  while (entries_[at].pair != kEmpty && entries_[at].pair != pair) at = (at + 1) & mask;
  return at;
}

void MergeTable::set(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = pair_of(left, right);
  entries_[place(pair)] = {pair, merge};
}

const MergeTable::Merge* MergeTable::find(int32_t left, int32_t right) const {
  const Entry& entry = entries_[place(pair_of(left, right))];
  return entry.pair == kEmpty ? nullptr : &entry.merge;
}

MergeTable listed_merges(const TokenizerSpec& spec, const std::unordered_map<std::string_view, Token>& by_text,
                         const std::string& place) {
  MergeTable table(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    const auto token = [&](const std::string& text) {
      const auto found = by_text.find(text);
      if (found == by_text.end())
        throw InputError(cat(place, " - merges, number ", rank + 1, " ('", plain(left), "' and '", plain(right),
                             "'): got '", plain(text), "', want a token of the vocabulary"));
      return found->second;
    };
    table.set(token(left), token(right), {static_cast<uint32_t>(rank), token(left + right)});
  }
  return table;
}

void Merger::consider(int32_t left, const MergeTable& table) {
  const int32_t right = symbols_[left].after;
  if (right < 0) return;
  const auto* merge = table.find(symbols_[left].id, symbols_[right].id);
  if (merge == nullptr) return;
  heap_.push_back({static_cast<uint64_t>(merge->rank) << 32 | static_cast<uint32_t>(left),
                   symbols_[left].units + symbols_[right].units, merge->result});
  std::push_heap(heap_.begin(), heap_.end(), [](const auto& a, const auto& b) { return a.order > b.order; });
}

void Merger::merge(std::vector<int32_t>& symbols, const MergeTable& table) {
  const auto count = static_cast<int32_t>(symbols.size());
  if (count < 2) return;
  symbols_.resize(count);
  heap_.clear();
  for (int32_t i = 0; i < count; ++i) symbols_[i] = {symbols[i], i - 1, i + 1 < count ? i + 1 : -1, 1};
  for (int32_t i = 0; i + 1 < count; ++i) consider(i, table);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), [](const auto& a, const auto& b) { return a.order > b.order; });
    const Candidate best = heap_.back();
    heap_.pop_back();
    const auto at = static_cast<int32_t>(best.order & 0xFFFFFFFF);
    Symbol& left = symbols_[at];
    if (left.units == 0 || left.after < 0) continue;
    Symbol& right = symbols_[left.after];
    if (left.units + right.units != best.units) continue;
    left.id = best.result;
    left.units = best.units;
    right.units = 0;
    left.after = right.after;
    if (left.after >= 0) symbols_[left.after].before = at;
    if (left.before >= 0) consider(left.before, table);
    consider(at, table);
  }
  symbols.clear();
  for (int32_t i = 0; i >= 0; i = symbols_[i].after) symbols.push_back(symbols_[i].id);
}

}  // namespace shoal::text
