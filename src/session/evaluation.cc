#include "session/evaluation.h"

#include <cstring>

#include "base/text.h"
#include "comm/collectives.h"
#include "comm/reduce.h"
#include "run/interpreter.h"
#include "run/user_code.h"

namespace shoal::session {
namespace {

// By batch: what each device has of them, one device after the other.
std::vector<double> gather(comm::Group& group, const std::vector<double>& mine) {
  std::vector<double> all;
  for (const auto& part : comm::all_gather(group, std::as_bytes(std::span(mine)))) {
    const size_t before = all.size();
    all.resize(before + part.size() / sizeof(double));
    if (!part.empty()) std::memcpy(all.data() + before, part.data(), part.size());
  }
  return all;
}

}  // namespace

double mean_loss(const Session& session, Function& evaluation, Weights& weights, TrainingStep& steps,
                 int64_t count, const std::function<Batch(int64_t)>& batch) {
  const Calls& calls = session.calls;
  const mesh::Role& role = session.role;
  const Range mine = role.computes ? share(count, session.layout.dp, role.dp) : Range{};
  std::vector<double> losses;
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    const std::string data = calls.now(cat("batch ", i, " of evaluate's data function"));
    const Batch inputs =
        contiguous(run::user_code(session.world.communicator(), data, [&] { return batch(i); }));
    const std::string place = calls.now(cat("evaluate batch ", i));
    calls.set_activity(place);
    check_batch(inputs, session.world.device());
    const Key key = evaluation.key_of(shapes_of(inputs));
    Function::Found found = evaluation.find(key, place, &weights.storage().cuts);
    Captured& captured =
        found.known ? *found.known : evaluation.add(key, std::move(found), weights.ownership(), weights.group());
    if (steps.exchanger())
      steps.exchanger()->agree(cat("trainer - ", place),
                       cat("graph ", captured.hash, " of ", print_shapes(captured.key.shapes)));
    captured.execution.externals.bind();
    // The random numbers of a batch are its own.
    const run::Request request{.batch = [&](int64_t) { return inputs; },
                               .random = {session.options.seed, session.steps, -1 - i},
                               .step = session.steps};
    losses.push_back(steps.interpreter().run(captured.execution, request).loss);
  }
  // Of the devices that share a batch one says its loss.
  if (role.tp != 0 || role.pp != weights.ownership().pp_of_loss()) losses.clear();
  calls.set_activity(calls.now("evaluate"));
  if (session.has_peers())
    check_same_evaluations(weights.group(), calls.now("evaluate"), evaluation.hashes());
  return comm::tree_sum(gather(weights.group(), losses)) / static_cast<double>(count);
}

}  // namespace shoal::session
