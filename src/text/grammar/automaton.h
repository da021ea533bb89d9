// A grammar as a machine that reads bytes, made as it goes: a state is the set of places where the text so
// far may stand, each a place in a rule and what is to be done after that rule.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/byte_trie.h"
#include "text/constraint.h"
#include "text/grammar/rules.h"

namespace shoal::text::grammar {

using State = int32_t;

/// A grammar and a vocabulary. Any number of threads may use it at once; they take turns.
class Automaton final : public Grammar {
 public:
  /// Throws InputError, "place - ...", where the rules cannot be read from the left.
  Automaton(const Rules&, int32_t root, const std::vector<std::string>& rule_names, const Tokenizer&,
            const std::string& place);

  State start() const { return start_; }
  /// The state after these bytes, or -1. Throws JobError where there are too many states.
  State after(State, std::string_view bytes) const;
  bool can_end(State state) const;
  /// Ends are not in it.
  void tokens(State, std::vector<uint64_t>& mask) const;
  const Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  static constexpr int32_t kNone = -1, kUnknown = -2;
  struct Place {
    int32_t element;  // of bytes, or where to go on after a rule
    int32_t then;     // the place to go on at when this rule ends, or kNone
  };
  struct Set {
    std::vector<int32_t> places;  // by number, ascending
    bool ends = false;
    std::vector<State> next;  // by class of bytes
  };

  void flatten(const Rules&);
  int32_t place(int32_t element, int32_t then) const;
  void expand(int32_t element, int32_t then, Set&, std::map<std::pair<int32_t, int32_t>, bool>& seen) const;
  State intern(Set) const;
  State step(State, unsigned char byte) const;
  void walk(int32_t node, State, std::vector<uint64_t>& mask) const;

  const Tokenizer& tokenizer_;
  const std::string place_;
  std::vector<Element> elements_;             // all alternatives, one after the other, each with its end
  std::vector<std::vector<int32_t>> starts_;  // by rule: where its alternatives begin
  std::vector<ByteSet> byte_sets_;
  std::vector<uint8_t> class_of_;  // by byte: bytes that no set tells apart have one class
  std::vector<unsigned char> byte_of_class_;
  ByteTrie trie_;                           // of the tokens' bytes
  std::vector<std::vector<Token>> groups_;  // tokens with the same bytes, by the trie's values
  State start_ = 0;

  mutable std::mutex mutex_;  // for all below
  mutable std::vector<Place> places_;
  mutable std::unordered_map<uint64_t, int32_t> known_places_;
  mutable std::vector<Set> sets_;
  mutable std::map<std::pair<std::vector<int32_t>, bool>, State> known_sets_;
  mutable std::unordered_map<State, std::vector<uint64_t>> masks_;
};

}  // namespace shoal::text::grammar
