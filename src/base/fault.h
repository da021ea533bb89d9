// What is thrown when a promise that Shoal makes to itself is broken, and the words for exceptions of others.
#pragma once

#include <stdexcept>
#include <string>

namespace shoal {

/// A fault of Shoal, never of its user: a call that our own code may not make.
class BrokenInvariant : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// The exception that is being handled: "std::out_of_range: vector::_M_range_check", of several lines the
/// first (LibTorch adds a stack trace), "an exception of type int" for `throw 42`, "internal error: ..." for a
/// BrokenInvariant. Of an Error its own sentence. REQUIRES: in a handler.
std::string describe_exception();

}  // namespace shoal
