// The calls of a Trainer that all devices make together: how each begins, what it is doing now, and what
// happens when one device cannot go on.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/agree.h"
#include "run/interpreter.h"
#include "run/user_code.h"
#include "shoal/world.h"

namespace shoal::session {

/// Belongs to its trainer's thread.
class Calls {
 public:
  /// `steps`: how many the trainer has done; kept by reference.
  Calls(World& world, const int64_t& steps)
      : world_(world),
        communicator_(world.communicator()),
        steps_(steps),
        number_(world.agreement().next_number()) {}

  /// Runs work that may throw on this device alone, while its peers go on and wait for it: then the job is
  /// over for all of them, also where the error is caught here. Not so for what every rank throws alike
  /// (NotFinite, Disagreement). What is no Error leaves as one, with its place; what a kernel threw gets it.
  template <class Work>
  auto together(Work&& work) const {
    return alike([&] {
      try {
        return work();
      } catch (const run::NotFinite&) {
        throw;
      } catch (const comm::Disagreement&) {
        throw;
      } catch (const run::OperatorFailed&) {
        fail();
      } catch (const Error& error) {
        end_job(error);
      }
    });
  }

  /// The same for work whose Errors every rank throws alike, so that all may go on.
  template <class Work>
  auto alike(Work&& work) const {
    const Idle idle{*this};
    try {
      return work();
    } catch (const Error&) {
      throw;
    } catch (...) {
      fail();
    }
  }

  /// Collective: what each call begins with, so that devices in unlike calls meet here and say so. `place`:
  /// "step 3". Returns the seconds it took. Throws Disagreement.
  double agree(const std::string& place, const std::string& call, std::vector<comm::Fact> facts) const;
  /// The same for a call between two steps, which becomes the activity.
  void agree(const std::string& call, std::vector<comm::Fact> facts) const {
    agree(now(call), call, std::move(facts));
  }

  /// "after step 56: save", counted as StepResult::step is; "before step 0: prepare".
  std::string now(std::string_view what) const;
  void set_activity(const std::string& activity) const { communicator_.set_activity(activity); }

 private:
  // Between calls a device does what the user's program does.
  struct Idle {
    const Calls& calls;
    ~Idle() { calls.set_activity(calls.between_steps()); }
  };
  std::string between_steps() const;
  [[noreturn]] void fail() const;                 // in a handler, of what does not say where it was thrown
  [[noreturn]] void end_job(const Error&) const;  // in a handler of it

  World& world_;
  comm::Communicator& communicator_;
  const int64_t& steps_;
  const int number_;  // of this trainer among its World's
};

/// Collective. Throws Disagreement when devices have made unlike graphs for evaluation of the same shapes.
/// `mine`: a hash by shapes; the ranks need not have met the same shapes.
void check_same_evaluations(comm::Group&, const std::string& place,
                            const std::map<std::string, std::string>& mine);

}  // namespace shoal::session
