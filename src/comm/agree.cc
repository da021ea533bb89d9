#include "comm/agree.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/hash.h"
#include "base/text.h"
#include "comm/collectives.h"

namespace shoal::comm {
namespace {

constexpr size_t kHashBytes = 32;
constexpr size_t kPlaceBytes = 64;  // apart by a cache line

// --- A statement as bytes: each text after its length ---

void put(std::string& bytes, std::string_view text) {
  const uint64_t size = text.size();
  bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
  bytes.append(text);
}

std::string encode(const Statement& statement) {
  std::string bytes;
  put(bytes, statement.call);
  for (const Fact& fact : statement.facts) {
    put(bytes, fact.name);
    put(bytes, fact.value);
    put(bytes, fact.advice);
    put(bytes, fact.is_hash ? "#" : "");
  }
  return bytes;
}

// REQUIRES: the bytes are those of encode.
Statement decode(std::string_view bytes) {
  const auto take = [&] {
    uint64_t size;
    std::memcpy(&size, bytes.data(), sizeof size);
    const std::string text(bytes.substr(sizeof size, size));
    bytes.remove_prefix(sizeof size + size);
    return text;
  };
  Statement statement{"", take(), {}};
  while (!bytes.empty()) {
    Fact fact;
    fact.name = take(), fact.value = take(), fact.advice = take(), fact.is_hash = !take().empty();
    statement.facts.push_back(std::move(fact));
  }
  return statement;
}

// --- What differs ---

const Fact* find(const Statement& statement, const std::string& name) {
  const auto found = std::ranges::find(statement.facts, name, &Fact::name);
  return found == statement.facts.end() ? nullptr : &*found;
}

// "optimizer.lr 0.01, rank 0 has 0.001": how the fact of a rank differs from that of rank 0.
std::string difference(const Fact& theirs, const Fact& first) {
  if (theirs.is_hash) return cat("another ", theirs.name, " than rank 0");
  const auto a = split(theirs.value, '\n'), b = split(first.value, '\n');
  if (a.size() == 1 && b.size() == 1)
    return cat(theirs.name, " ", theirs.value, ", rank 0 has ", first.value);
  const size_t line = first_unlike(a, b);
  const auto quoted = [&](const std::vector<std::string>& lines) {
    return line < lines.size() ? cat("\"", lines[line], "\"") : std::string("nothing more");
  };
  return cat("in line ", line + 1, " of ", theirs.name, " ", quoted(a), ", rank 0 has ", quoted(b));
}

std::string absent(const Fact& fact) {
  const bool is_short = !fact.is_hash && fact.value.find('\n') == std::string::npos;
  return is_short ? cat(fact.name, " ", fact.value) : fact.name;
}

// The sentence, by the first fact of rank 0 that some rank has otherwise, then by what rank 0 lacks.
std::string first_difference(const std::string& place, const std::vector<Statement>& all) {
  const Statement& first = all[0];
  for (const Fact& fact : first.facts) {
    for (size_t rank = 1; rank < all.size(); ++rank) {
      const Fact* const theirs = find(all[rank], fact.name);
      if (theirs && theirs->value == fact.value) continue;
      return cat(place, ": rank ", rank, " has ",
                 theirs ? difference(*theirs, fact) : cat("no ", fact.name, ", rank 0 has ", absent(fact)),
                 "; ", fact.advice);
    }
  }
  for (size_t rank = 1; rank < all.size(); ++rank)
    for (const Fact& fact : all[rank].facts)
      if (!find(first, fact.name))
        return cat(place, ": rank ", rank, " has ", absent(fact), ", rank 0 has none; ", fact.advice);
  return cat(place, ": the ranks state the same in another order; every device must run the same program");
}

}  // namespace

void Agreement::agree(const Statement& mine) {
  if (group_.size() == 1) return;
  const std::string bytes = encode(mine), hash = hash_hex(bytes);
  if (!window_) window_ = group_.window(2 * kPlaceBytes);
  // Two places in turn: who writes one again has passed a barrier that all entered after reading it.
  const size_t at = turn_++ % 2 * kPlaceBytes;
  std::memcpy(window_->mine().data() + at, hash.data(), kHashBytes);
  group_.barrier();
  bool equal = true;
  for (int rank = 0; rank < group_.size(); ++rank) {
    std::array<std::byte, kHashBytes> scratch;
    equal &= std::memcmp(window_->read(rank, at, kHashBytes, scratch), hash.data(), kHashBytes) == 0;
  }
  if (equal) return;

  std::vector<Statement> all;
  const std::string place = all_gather_texts(group_, mine.place)[0];  // of rank 0, so that all say the same
  for (const std::string& theirs : all_gather_texts(group_, bytes)) all.push_back(decode(theirs));
  group_.barrier();  // all have read what they need; now each may end as it likes
  for (size_t rank = 1; rank < all.size(); ++rank)
    if (all[rank].call != all[0].call)
      throw Disagreement(cat(place.substr(0, place.find(" - ")), " - calls: rank 0 calls ", all[0].call,
                             ", rank ", rank, " calls ", all[rank].call,
                             "; every device makes the same collective calls in the same order"));
  throw Disagreement(first_difference(place, all));
}

}  // namespace shoal::comm
