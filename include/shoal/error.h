// What Shoal throws. Every message is one sentence a person can act on: place - what: got X, want Y; what to
// do.
#pragma once

#include <stdexcept>
#include <string>

namespace shoal {

/// Base of everything thrown on purpose. Catch this to report; the subclass says whose fault it is.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  /// The exit code a command ends with when this reaches it.
  virtual int exit_code() const { return 1; }
};

/// The caller's input cannot be used: a flag, a recipe, a file, a model. Nothing was done. Exit code 2.
class InputError : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return 2; }
};

/// The job failed on the way: a rank died, a disk filled up, an operator threw. Exit code 1.
class JobError : public Error {
 public:
  using Error::Error;
};

}  // namespace shoal
