#include "session/training_step.h"

#include "mesh/device_mesh.h"

namespace shoal::session {
TrainingStep::TrainingStep(const Session& session, Weights& weights, const Captured& first)
    : session_(session),
      interpreter_(weights.group(), weights.memory(),
                   [&session, &weights](std::vector<run::OwnedShard>& owned, float divisor) {
                     weights.optimizer().apply(owned, session.steps,
                                               session.options.schedule.factor(session.steps), divisor);
                   }) {
  if (session.layout.tp > 1 && session.role.computes) {
    const mesh::DeviceMesh mesh = mesh::mesh_of(session.layout);
    exchanger_.emplace(comm::Group(weights.group(), mesh.group(session.world.rank(), "tp")),
                       first.execution.local.half_bytes, session.world.device());
    interpreter_.set_exchanger(&*exchanger_);
  }
}

StepResult TrainingStep::run(Captured& captured, const std::function<Batch(int64_t)>& batch,
                             run::StepTrace* trace) {
  const TrainerOptions& options = session_.options;
  const std::vector<int64_t>& mine = session_.microbatches;
  if (!mine.empty()) captured.execution.externals.bind();
  const run::Request request{.batch = batch,
                             .random = {options.seed, session_.steps, 0},
                             .step = session_.steps,
                             .clip_norm = options.clip_norm,
                             .stop = shoal::stop_requested(),
                             .trace = trace};
  const run::StepOutcome outcome = interpreter_.run(captured.execution, request);

  StepResult result;
  result.step = session_.steps;
  result.loss = static_cast<float>(outcome.loss);
  result.grad_norm = outcome.grad_norm;
  result.lr = std::visit([](const auto& o) { return o.lr; }, options.optimizer) *
              options.schedule.factor(session_.steps);
  result.stop_requested = outcome.stop;
  result.bytes_read = {outcome.traffic.gradients, outcome.traffic.weights, outcome.traffic.boards,
                       captured.execution.local.bytes_read * static_cast<int64_t>(mine.size())};
  const run::StepSeconds& s = outcome.seconds;
  result.seconds = {0, s.compute, s.reduce, s.update, s.gather, s.wait};
  return result;
}

}  // namespace shoal::session
