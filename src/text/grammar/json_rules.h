// JSON's own grammar (RFC 8259), as rules.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/grammar/rules.h"

namespace shoal::text::grammar {

/// What values consist of; each is made at its first use.
class JsonRules {
 public:
  explicit JsonRules(Rules& rules) : rules_(rules) {}

  Element space();      // between values: nothing, a space, or a new line and up to 20 spaces
  Element character();  // of a string: plain or escaped, never half of a surrogate pair
  Element string();
  Element number();
  Element integer();
  Element value();
  Element object();  // of any keys and values
  Element array();
  Sequence text(const std::string& bytes) { return rules_.text(bytes); }
  Element one_of_texts(const std::vector<std::string>& texts);
  /// open space (items) space close, where items may be none.
  Element enclosed(const char* open, std::optional<Element> items, const char* close);
  /// "," with space around it.
  Sequence comma();

 private:
  Element digits(int64_t least, int64_t most);
  Rules& rules_;
  std::optional<Element> space_, character_, string_, number_, integer_, value_, object_, array_;
};

}  // namespace shoal::text::grammar
