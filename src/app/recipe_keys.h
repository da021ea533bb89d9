// The table of all keys of a recipe. Parsing, checks, messages, the effective recipe and docs/recipe.md are
// all made from it.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "app/recipe.h"

namespace shoal::app {

/// Where a key's value lies in a Recipe, and what it may be.
struct WholeField {
  int64_t& (*at)(Recipe&);
  int64_t least, most;
};
struct RealField {
  double& (*at)(Recipe&);
  double least, most;
  bool below_most = false;  // most itself is not allowed
};
struct PairField {  // two numbers from 0 to below 1
  std::array<double, 2>& (*at)(Recipe&);
};
struct FlagField {
  bool& (*at)(Recipe&);
};
struct TextField {
  std::string& (*at)(Recipe&);
  std::vector<std::string> choices;  // empty: any
};
using Field = std::variant<WholeField, RealField, PairField, FlagField, TextField>;

enum class Need { kOptional, kRequired };

struct Key {
  std::string section, name;
  Field field;
  Need need;
  std::string only_key;  // has a meaning only where that key has one of these values; empty: always
  std::vector<std::string> only_values;
  std::string meaning;
  /// It came after checkpoints that do not know it: noted in one only where it is not the default, so that a run's
  /// content hash is what it was before the key.
  bool noted_when_set = false;

  std::string full_name() const { return section + "." + name; }
};

const std::vector<Key>& recipe_keys();

/// The shortest text that reads back to the same number, with a point or an exponent in it.
std::string real_text(double);
/// Whether the key has a meaning in this recipe.
bool applies(const Key&, const Recipe&);

/// "a whole number from 1 to 64".
std::string wanted(const Field&);
/// The value as TOML, and as JSON.
std::string value_text(const Field&, const Recipe&);
nlohmann::json json_value(const Field&, const Recipe&);

/// All keys as Markdown, a table for each section: the body of docs/recipe.md.
std::string recipe_reference();

}  // namespace shoal::app
