#include "session/evaluation.h"

#include <cstring>

#include "base/text.h"
#include "comm/collectives.h"
#include "comm/reduce.h"
#include "session/forward.h"

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
  for (int64_t i = mine.begin; i < mine.end; ++i)
    losses.push_back(run_forward(session, evaluation, weights, steps, {"evaluate", i, batch}));
  // Of the devices that share a batch one says its loss.
  if (role.tp != 0 || role.pp != weights.ownership().pp_of_loss()) losses.clear();
  calls.set_activity(calls.now("evaluate"));
  if (session.has_peers())
    check_same_evaluations(weights.group(), calls.now("evaluate"), evaluation.hashes());
  return comm::tree_sum(gather(weights.group(), losses)) / static_cast<double>(count);
}

}  // namespace shoal::session
