// Where the user's functions are called: what they throw leaves with its place.
#pragma once

#include <string>
#include <string_view>

#include "comm/comm.h"

namespace shoal::run {

/// What this rank does now: "rank 1, step 57: microbatch 3 of the data function"; without the rank in a world
/// of one.
std::string place_of(const comm::Communicator&);

/// In a handler: throws what is being handled as an Error whose sentence begins with place_of, the original
/// nested in it (std::rethrow_if_nested). An Error stays an InputError or a JobError by its exit code;
/// anything else becomes a JobError: "step 3: capture - std::out_of_range: vector::_M_range_check".
[[noreturn]] void rethrow_with_place(const comm::Communicator&);

/// Calls `code`, which is the user's, doing `activity`.
template <class Code>
decltype(auto) user_code(comm::Communicator& communicator, std::string_view activity, Code&& code) {
  communicator.set_activity(activity);
  try {
    return code();
  } catch (...) {
    rethrow_with_place(communicator);
  }
}

}  // namespace shoal::run
