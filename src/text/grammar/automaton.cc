#include "text/grammar/automaton.h"

#include <algorithm>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::text::grammar {
namespace {

constexpr size_t kMostStates = 500'000, kMostMasks = 1024;

}  // namespace

Automaton::Automaton(const Rules& rules, int32_t root, const std::vector<std::string>& rule_names,
                     const Tokenizer& tokenizer, const std::string& place)
    : tokenizer_(tokenizer), place_(place), byte_sets_(rules.byte_sets()) {
  if (const int32_t rule = rules.left_recursive(); rule >= 0) {
    const std::string name = static_cast<size_t>(rule) < rule_names.size() ? rule_names[rule] : "";
    throw InputError(cat(place, " - ", name.empty() ? "a rule" : "rule '" + name + "'",
                         ": got one that begins with itself, want its own name further right"));
  }
  flatten(rules);
  std::map<std::vector<bool>, uint8_t> classes;
  for (int byte = 0; byte < 256; ++byte) {
    std::vector<bool> members;
    for (const auto& set : byte_sets_) members.push_back(set[byte]);
    const auto [known, added] = classes.emplace(members, static_cast<uint8_t>(classes.size()));
    if (added) byte_of_class_.push_back(static_cast<unsigned char>(byte));
    class_of_.push_back(known->second);
  }
  std::unordered_map<std::string, int32_t> group_of;
  for (Token token = 0; token < tokenizer.size(); ++token) {
    const TokenKind kind = tokenizer.spec().vocabulary[token].kind;
    if (kind == TokenKind::kUnused || kind == TokenKind::kControl || kind == TokenKind::kUnknown ||
        tokenizer.is_end(token))
      continue;
    const auto [known, added] =
        group_of.emplace(tokenizer.piece(token), static_cast<int32_t>(groups_.size()));
    if (added) groups_.emplace_back();
    groups_[known->second].push_back(token);
  }
  trie_ = ByteTrie({group_of.begin(), group_of.end()});
  Set first;
  std::map<std::pair<int32_t, int32_t>, bool> seen;
  for (const int32_t alternative : starts_[root]) expand(alternative, kNone, first, seen);
  start_ = intern(std::move(first));
  if (start_ == kNone) throw InputError(cat(place, " - rules: got ones that no text fits, want an end to them"));
}

void Automaton::flatten(const Rules& rules) {
  for (const auto& alternatives : rules.alternatives()) {
    auto& starts = starts_.emplace_back();
    for (const auto& sequence : alternatives) {
      starts.push_back(static_cast<int32_t>(elements_.size()));
      elements_.insert(elements_.end(), sequence.begin(), sequence.end());
      elements_.push_back({Element::Kind::kEnd});
    }
  }
}

int32_t Automaton::place(int32_t element, int32_t then) const {
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(element)) << 32 | static_cast<uint32_t>(then);
  const auto [known, added] = known_places_.emplace(key, static_cast<int32_t>(places_.size()));
  if (added) places_.push_back({element, then});
  return known->second;
}

// Rules open into their alternatives, and ends return, until bytes are what comes next. That ends: Rules
// refuses what would grow on the way round, and what does not grow comes to a pair that was seen.
void Automaton::expand(int32_t element, int32_t then, Set& set,
                       std::map<std::pair<int32_t, int32_t>, bool>& seen) const {
  std::vector<std::pair<int32_t, int32_t>> open = {{element, then}};
  while (!open.empty()) {
    const auto [at, after] = open.back();
    open.pop_back();
    if (!seen.emplace(std::pair(at, after), true).second) continue;
    const Element& here = elements_[at];
    if (here.kind == Element::Kind::kBytes) {
      set.places.push_back(place(at, after));
    } else if (here.kind == Element::Kind::kEnd) {
      if (after == kNone)
        set.ends = true;
      else
        open.emplace_back(places_[after].element, places_[after].then);
    } else {
      const bool last = elements_[at + 1].kind == Element::Kind::kEnd;
      const int32_t next = last ? after : place(at + 1, after);
      for (const int32_t alternative : starts_[here.index]) open.emplace_back(alternative, next);
    }
  }
}

State Automaton::intern(Set set) const {
  if (set.places.empty() && !set.ends) return kNone;
  std::sort(set.places.begin(), set.places.end());
  const auto [known, added] =
      known_sets_.emplace(std::pair(set.places, set.ends), static_cast<State>(sets_.size()));
  if (!added) return known->second;
  if (sets_.size() >= kMostStates)
    throw JobError(cat(place_, " - states: got more than ", kMostStates,
                       ", want an answer that nests less deeply, or a simpler grammar"));
  set.next.assign(byte_of_class_.size(), kUnknown);
  sets_.push_back(std::move(set));
  return known->second;
}

State Automaton::step(State state, unsigned char byte) const {
  const uint8_t of_class = class_of_[byte];
  if (const State known = sets_[state].next[of_class]; known != kUnknown) return known;
  Set set;
  std::map<std::pair<int32_t, int32_t>, bool> seen;
  for (const int32_t number : sets_[state].places) {
    const Place at = places_[number];
    if (byte_sets_[elements_[at.element].index][byte]) expand(at.element + 1, at.then, set, seen);
  }
  const State next = intern(std::move(set));
  sets_[state].next[of_class] = next;
  return next;
}

State Automaton::after(State state, std::string_view bytes) const {
  std::lock_guard lock(mutex_);
  for (const char byte : bytes) {
    if (state == kNone) break;
    state = step(state, static_cast<unsigned char>(byte));
  }
  return state;
}

bool Automaton::can_end(State state) const {
  std::lock_guard lock(mutex_);
  return state != kNone && sets_[state].ends;
}

void Automaton::walk(int32_t node, State state, std::vector<uint64_t>& mask) const {
  for (const auto& nodes = trie_.nodes(); node >= 0; node = nodes[node].sibling) {
    const State next = step(state, nodes[node].byte);
    if (next == kNone) continue;
    if (nodes[node].value >= 0)
      for (const Token token : groups_[nodes[node].value]) mask[token / 64] |= uint64_t{1} << (token % 64);
    if (nodes[node].child >= 0) walk(nodes[node].child, next, mask);
  }
}

void Automaton::tokens(State state, std::vector<uint64_t>& mask) const {
  const size_t words = (static_cast<size_t>(tokenizer_.size()) + 63) / 64;
  if (state == kNone) return mask.assign(words, 0);
  std::lock_guard lock(mutex_);
  const auto known = masks_.find(state);
  if (known != masks_.end()) {
    mask = known->second;
    return;
  }
  mask.assign(words, 0);
  if (!trie_.empty()) walk(trie_.nodes()[0].child, state, mask);
  if (masks_.size() >= kMostMasks) masks_.clear();
  masks_.emplace(state, mask);
}

}  // namespace shoal::text::grammar

namespace shoal::text {

struct GrammarState::Impl {
  std::shared_ptr<const Grammar> owner;
  const grammar::Automaton& automaton;
  grammar::State state;
  bool ended = false;
};

GrammarState::GrammarState(std::shared_ptr<const Grammar> owner) {
  const auto& automaton = static_cast<const grammar::Automaton&>(*owner);
  impl_ = std::make_unique<Impl>(Impl{std::move(owner), automaton, automaton.start()});
}
GrammarState::~GrammarState() = default;
GrammarState::GrammarState(const GrammarState& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}

void GrammarState::allowed(std::vector<uint64_t>& mask) const {
  const Tokenizer& tokenizer = impl_->automaton.tokenizer();
  impl_->automaton.tokens(impl_->ended ? -1 : impl_->state, mask);
  const bool nothing = std::all_of(mask.begin(), mask.end(), [](uint64_t word) { return word == 0; });
  if (!nothing && !can_end()) return;
  for (const Token end : tokenizer.spec().ends) mask[end / 64] |= uint64_t{1} << (end % 64);
  if (nothing && tokenizer.spec().ends.empty())  // there is no way to end: the answer goes on as it likes
    for (Token token = 0; token < tokenizer.size(); ++token) mask[token / 64] |= uint64_t{1} << (token % 64);
}

void GrammarState::accept(Token token) {
  const Tokenizer& tokenizer = impl_->automaton.tokenizer();
  if (tokenizer.is_end(token))
    impl_->ended = true;
  else if (!impl_->ended)
    impl_->state = impl_->automaton.after(impl_->state, tokenizer.piece(token));
}

bool GrammarState::can_end() const { return impl_->ended || impl_->automaton.can_end(impl_->state); }

}  // namespace shoal::text
