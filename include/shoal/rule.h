// How an operator of your own may be divided over devices.
#pragma once

#include <string>

namespace shoal {

/// Says how the operator `op` ("my::scale", with ".overload" if it has one) may be divided: `rule` relates
/// the dims of its tensors, e.g. "...,...->..." for one that treats each element alone, "mk,kn->mn" for a
/// matrix product (docs/adding_an_operator.md). A rule is the operator's, so register it where the operator
/// is registered, before a model is captured. Without a rule the operator is computed whole,
/// by each device of a tensor-parallel group alike, and Trainer::plan() names it; training that only divides
/// the data needs none.
///
/// Throws InputError when the text is malformed, saying at which character, or when the operator has another
/// rule. What does not fit the operator's schema is said when the rule is first used. Thread-safe.
void register_rule(const std::string& op, const std::string& rule);

}  // namespace shoal
