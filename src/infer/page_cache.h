// Which pages of a replica's cache hold what. Pages are lent to sequences; full ones are remembered by the
// tokens that they and all before them hold, and shared by whoever begins alike; those that nobody uses any
// more stay until room is needed, the longest unused goes first. Compared are the tokens themselves, never
// hashes alone.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "infer/kernels/kernels.h"
#include "text/tokenizer.h"

namespace shoal::infer {

using text::Token;

/// Belongs to one thread.
class PageCache {
 public:
  /// A full page in its place: the pages before it are those of the parent.
  using Prefix = uint64_t;
  static constexpr Prefix kEmpty = 0;  // before the first page

  PageCache(int64_t pages, bool shares);

  /// A page for new tokens, which the caller holds; nothing where all are held.
  std::optional<int32_t> allocate();
  /// One hold less.
  void release(int32_t page);

  struct Found {
    int32_t page;
    Prefix prefix;
  };
  /// The page after `parent` that holds these tokens, one hold more of it; nothing where none is known.
  /// REQUIRES: kPageTokens of them.
  std::optional<Found> find(Prefix parent, std::span<const Token> tokens);
  /// The page is full and will not change: others may find it. Returns what stands for it as a parent.
  Prefix fill(int32_t page, Prefix parent, std::span<const Token> tokens);

  int64_t pages() const { return static_cast<int64_t>(states_.size()); }
  int64_t held() const { return held_; }
  /// Forgets all; nobody holds a page.
  void clear();

 private:
  struct Key {
    Prefix parent;
    std::array<Token, kPageTokens> tokens;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct HashOfKey {
    size_t operator()(const Key&) const;
  };
  struct State {
    int64_t holders = 0;
    std::optional<Key> key;                 // by which it is found
    std::list<int32_t>::iterator unused{};  // where it is known and nobody holds it
  };
  static Key key_of(Prefix parent, std::span<const Token> tokens);

  const bool shares_;
  std::vector<State> states_;
  std::vector<int32_t> free_;  // hold nothing; the last is lent first
  std::list<int32_t> unused_;  // the longest unused first
  std::unordered_map<Key, Found, HashOfKey> known_;
  Prefix last_prefix_ = kEmpty;
  int64_t held_ = 0;
};

}  // namespace shoal::infer
