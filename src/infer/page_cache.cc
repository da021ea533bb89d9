#include "infer/page_cache.h"

#include <algorithm>

#include "base/random.h"

namespace shoal::infer {

size_t PageCache::HashOfKey::operator()(const Key& key) const {
  uint64_t hash = key.parent;
  for (const Token token : key.tokens)
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9E3779B97F4A7C15u + (hash >> 29);
  return hash;
}

PageCache::Key PageCache::key_of(Prefix parent, std::span<const Token> tokens) {
  Key key{parent, {}};
  std::ranges::copy(tokens.first(kPageTokens), key.tokens.begin());
  return key;
}

PageCache::PageCache(int64_t pages, bool shares) : shares_(shares), states_(static_cast<size_t>(pages)) {
  clear();
}

void PageCache::clear() {
  known_.clear(), unused_.clear(), free_.clear();
  std::ranges::fill(states_, State{});
  for (int64_t page = pages(); page-- > 0;) free_.push_back(static_cast<int32_t>(page));
  held_ = 0;
}

std::optional<int32_t> PageCache::allocate() {
  int32_t page;
  if (!free_.empty()) {
    page = free_.back();
    free_.pop_back();
  } else if (!unused_.empty()) {
    page = unused_.front();
    unused_.pop_front();
    State& state = states_[static_cast<size_t>(page)];
    known_.erase(*state.key);
    state.key.reset();
  } else {
    return std::nullopt;
  }
  states_[static_cast<size_t>(page)].holders = 1;
  ++held_;
  return page;
}

void PageCache::release(int32_t page) {
  State& state = states_[static_cast<size_t>(page)];
  if (--state.holders > 0) return;
  --held_;
  if (state.key)
    state.unused = unused_.insert(unused_.end(), page);
  else
    free_.push_back(page);
}

std::optional<PageCache::Found> PageCache::find(Prefix parent, std::span<const Token> tokens) {
  if (!shares_) return std::nullopt;
  const auto known = known_.find(key_of(parent, tokens));
  if (known == known_.end()) return std::nullopt;
  State& state = states_[static_cast<size_t>(known->second.page)];
  if (state.holders++ == 0) {
    unused_.erase(state.unused);
    ++held_;
  }
  return known->second;
}

PageCache::Prefix PageCache::fill(int32_t page, Prefix parent, std::span<const Token> tokens) {
  if (!shares_) return kEmpty;
  const auto [place, is_new] = known_.try_emplace(key_of(parent, tokens), Found{page, last_prefix_ + 1});
  if (is_new) {  // else another page holds the same, and is the one to find
    ++last_prefix_;
    states_[static_cast<size_t>(page)].key = place->first;
  }
  return place->second.prefix;
}

}  // namespace shoal::infer
