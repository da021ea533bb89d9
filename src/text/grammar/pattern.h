// The simple part of regular expressions (ECMA 262), as rules for what stands in a JSON string.
#pragma once

#include <string>

#include "text/grammar/json_rules.h"
#include "text/grammar/rules.h"

namespace shoal::text::grammar {

/// Characters, classes, \d \w \s, ., (groups), |, * + ? {n,m}, and ^ and $ at the ends; without them anything
/// may stand before and behind. Throws InputError, which begins with `place`, for the rest.
Element pattern_rules(const std::string& pattern, Rules&, JsonRules&, const std::string& place);

}  // namespace shoal::text::grammar
