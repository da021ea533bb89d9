#include "session/training.h"

#include <chrono>
#include <optional>
#include <utility>

#include "base/hash.h"
#include "base/text.h"
#include "session/agreed_facts.h"
#include "shoal/error.h"

namespace shoal::session {

std::vector<comm::Fact> Training::writes() {
  check_tensors(session_.tensors, *session_.model.module);
  return weights_ && weights_->link() ? weights_->link()->writes() : std::vector<comm::Fact>{};
}

void Training::follow() {
  if (weights_ && weights_->link()) weights_->link()->follow();
}

Weights& Training::weights_for(const char* what) {
  if (!weights_)
    throw InputError(
        cat("trainer - ", what, ": the model has no numbers yet; call prepare() or step() first"));
  weights_->require_whole(what);
  return *weights_;
}

// Every rank captures the same shapes before they agree, so that all make the same collective calls.
Captured& Training::prepare(const Batch& microbatch, const std::string& place, const std::string& call) {
  const Key key = function_.key_of(shapes_of(microbatch));
  std::vector<comm::Fact> facts;
  if (session_.has_peers()) facts = facts_of(session_, key);
  add(facts, writes());
  Function::Found found =
      function_.find(key, cat(place, ": capture"), weights_ ? &weights_->storage().cuts : nullptr);
  if (!found.known && !weights_)
    session_.define(found.hash(), found.divided_text.empty() ? "" : hash_hex(found.divided_text));
  if (session_.has_peers()) {
    if (!found.known) add(facts, facts_of(session_, found, /*is_first=*/!weights_));
    facts.push_back({.name = "graph of this step", .value = found.hash(), .is_hash = true});
  }
  agreed_seconds_ = session_.calls.agree(place, call, std::move(facts));
  follow();
  if (found.known) return *found.known;
  if (weights_)
    weights_->check_trains_the_same(found.divided.graph, key);
  else
    weights_ = std::make_unique<Weights>(session_, found.divided, key);
  Captured& captured = function_.add(key, std::move(found), weights_->ownership(), weights_->group());
  if (!steps_) steps_ = std::make_unique<TrainingStep>(session_, *weights_, captured);
  return captured;
}

StepResult Training::step(const std::function<Batch(int64_t)>& microbatch) {
  session_.hold_settings();
  const auto start = std::chrono::steady_clock::now();
  const std::vector<int64_t>& mine = session_.microbatches;
  const int64_t first_index = mine.empty() ? 0 : mine.front();
  std::optional<Batch> first = contiguous(microbatch(first_index));
  const int64_t samples_each = check_batch(*first, session_.world.device());
  const std::string place = cat("step ", session_.steps);
  session_.calls.set_activity(place);
  Captured& captured = prepare(*first, place, "step");
  ModuleLink* const link = weights_->link();
  if (link) link->withhold();

  const Shapes& shapes = captured.key.shapes;
  StepResult result = steps_->run(captured, [&](int64_t m) -> Batch {
    if (m == first_index && first) return *std::exchange(first, std::nullopt);
    Batch batch = contiguous(microbatch(m));
    session_.calls.set_activity(cat(place, ": compute microbatch ", m));
    if (shapes_of(batch) != shapes)
      throw InputError(cat("batch - microbatch ", m, ": got ", print_shapes(shapes_of(batch)), ", want ",
                           print_shapes(shapes), " as the others"));
    if (captured.trace->is_usable() &&
        !captured.trace->is_repeated_by(session_.model.loss, /*gradients=*/true))
      throw InputError(cat("trainer - microbatch ", m,
                           ": the model's code does something else with it than with microbatch ", first_index,
                           " of the same step, by a number or tensor of the host; what differs from "
                           "microbatch to microbatch belongs in the batch"));
    return batch;
  }, trace_.next());
  if (link) link->changed();

  result.samples = samples_each * session_.options.microbatches;
  result.seconds.wait += agreed_seconds_;
  result.seconds.total = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ++session_.steps;
  session_.samples += result.samples;
  trace_.step_ended(weights_->group());
  return result;
}

}  // namespace shoal::session
