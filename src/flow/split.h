// split: each row gets the number of its part, drawn from the hash of its columns, in a column behind the
// others; what a flow writes goes to a folder for each part (run_flow.cc).
#pragma once

#include <memory>
#include <string>

#include "flow/operators.h"

namespace shoal::flow {

inline constexpr const char* kSplitColumn = " split";  // no user's column

/// Throws InputError where shares or names are none.
std::unique_ptr<Operator> make_split(const flow_steps::Split&, const SchemaPtr& in, const std::string& place);

}  // namespace shoal::flow
