#include "session/forward.h"

#include "base/text.h"
#include "run/interpreter.h"
#include "run/user_code.h"

namespace shoal::session {

double run_forward(const Session& session, Function& function, Weights& weights, TrainingStep& steps,
                   const ForwardBatch& which, std::function<void(const at::Tensor&)> result) {
  const Calls& calls = session.calls;
  const std::string data = calls.now(cat("batch ", which.number, " of ", which.call, "'s data function"));
  const Batch inputs =
      contiguous(run::user_code(session.world.communicator(), data, [&] { return which.make(which.number); }));
  const std::string place = calls.now(cat(which.call, " batch ", which.number));
  calls.set_activity(place);
  check_batch(inputs, session.world.device());
  const Key key = function.key_of(shapes_of(inputs));
  Function::Found found = function.find(key, place, &weights.storage().cuts);
  Captured& captured =
      found.known ? *found.known : function.add(key, std::move(found), weights.ownership(), weights.group());
  if (steps.exchanger())
    steps.exchanger()->agree(cat("trainer - ", place),
                             cat("graph ", captured.hash, " of ", print_shapes(captured.key.shapes)));
  captured.execution.externals.bind();
  // The random numbers of a batch are its own.
  const run::Request request{.batch = [&](int64_t) { return inputs; },
                             .random = {session.options.seed, session.steps, -1 - which.number},
                             .step = session.steps,
                             .result = std::move(result)};
  return steps.interpreter().run(captured.execution, request).loss;
}

}  // namespace shoal::session
