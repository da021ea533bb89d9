// Work that all members of a group finish, or none counts as finished.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comm/group.h"

namespace shoal::comm {

/// Collective. Does `work` on every member and returns what each of them gave, by member. When it threw on any,
/// all throw what the first of those members threw: an InputError or JobError with the same sentence; anything
/// else as a JobError that names the rank. What the members have done by then is for the caller to undo.
std::vector<std::string> all_or_none(Group&, const std::function<std::string()>& work);

}  // namespace shoal::comm
