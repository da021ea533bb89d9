// The rounds of the engine's thread.
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "infer/engine_impl.h"
#include "shoal/error.h"

namespace shoal::infer {

void Engine::Impl::run() {
  while (take_inbox()) {
    revive();
    give_steps();
    publish();
    wait();
    for (const auto& lane : lanes) receive(*lane);
  }
  finish_all(Finish::kCancelled, "");
  publish();
}

// What other threads have asked for. False when the engine is to end.
bool Engine::Impl::take_inbox() {
  std::vector<std::unique_ptr<Sequence>> added;
  std::vector<uint64_t> gone;
  bool goes_on;
  {
    const std::lock_guard lock(mutex);
    added.swap(incoming);
    gone.swap(cancelled);
    goes_on = !is_ending;
  }
  for (std::unique_ptr<Sequence>& one : added) {
    Sequence& sequence = *one;
    sequences.emplace(sequence.id, std::move(one));
    counters.prompt_tokens += sequence.prompt_length();
    const bool has_nothing_to_do =
        !sequence.embedded && sequence.request.max_tokens == 0 && !sequence.request.prompt_logprobs;
    if (has_nothing_to_do && goes_on)
      finish(sequence, Finish::kLength);
    else
      queue.add(sequence);
  }
  for (const uint64_t id : gone)
    if (const auto found = sequences.find(id); found != sequences.end())
      finish(*found->second, Finish::kCancelled);
  return goes_on;
}

void Engine::Impl::give_steps() {
  int64_t running = 0, ready = 0;
  for (const auto& lane : lanes) running += lane->scheduler.running(), ready += lane->replica.is_ready();
  if (ready == 0) return;
  const int64_t share = std::min(options.batch_requests, (running + queue.size() + ready - 1) / ready);
  for (const auto& lane : lanes) {
    // After a failure one at a time, until a step is done: who makes devices fail shall not take others
    // along.
    const int64_t most = lane->failures > 0 ? 1 : share;
    while (lane->replica.is_ready() && static_cast<int64_t>(lane->under_way.size()) < options.pp) {
      std::optional<Step> step = lane->scheduler.next_step(queue, most);
      if (!step) break;
      int64_t slot = 0;
      while (std::ranges::any_of(lane->under_way, [&](const auto& one) { return one.slot == slot; })) ++slot;
      lane->replica.submit(slot, step->data);
      lane->under_way.push_back({slot, std::move(*step)});
    }
  }
}

void Engine::Impl::wait() {
  std::vector<pollfd> all = {{doorbell, POLLIN, 0}};
  for (const auto& lane : lanes)
    for (const int socket : lane->replica.sockets())
      if (socket >= 0) all.push_back({socket, POLLIN, 0});
  const auto before = std::chrono::steady_clock::now();
  poll(all.data(), all.size(), -1);
  const bool has_work = std::ranges::any_of(lanes, [](const auto& lane) { return !lane->under_way.empty(); });
  if (has_work)
    counters.step_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  uint64_t rings;
  [[maybe_unused]] const ssize_t count = read(doorbell, &rings, sizeof rings);
}

void Engine::Impl::receive(Lane& lane) {
  while (const auto event = lane.replica.receive()) {
    if (event->kind == Replica::Event::kDone) step_done(lane, event->slot);
    if (event->kind == Replica::Event::kFailed) lane_failed(lane, event->sentence);
  }
}

void Engine::Impl::step_done(Lane& lane, int64_t slot) {
  const Step step = std::move(lane.under_way.front().step);  // devices work in order
  lane.under_way.pop_front();
  ++counters.steps;
  lane.failures = 0;
  const std::vector<bool> stands = lane.scheduler.done(step);
  for (size_t i = 0; i < step.parts.size(); ++i) {
    if (!stands[i]) continue;
    Sequence& sequence = *step.parts[i].sequence;
    if (sequence.embedded)
      take_states(sequence, step.parts[i], lane.replica.states(slot));
    else
      take_logits(sequence, step.parts[i], lane.replica.logits(slot));
  }
}

// Nothing is lost: what ran goes back into the queue, and its tokens so far become its prompt. Only who was
// there, alone, as devices failed time and again, is answered with a failure.
void Engine::Impl::lane_failed(Lane& lane, const std::string& sentence) {
  const bool was_busy = !lane.under_way.empty() || !lane.replica.is_ready();
  lane.under_way.clear();
  lane.replica.stop();
  if (was_busy) ++lane.failures;
  const bool gives_up = lane.failures > kMostRestarts;
  const std::vector<Sequence*> there = lane.scheduler.reset();
  for (Sequence* const sequence : there) {
    if (gives_up)
      finish(*sequence, Finish::kFailed,
             cat(sentence, "; it was the last of ", lane.failures, " failures in a row"));
    else
      queue.add(*sequence);
  }
  try {
    if (gives_up && there.empty()) throw JobError(sentence);
    if (gives_up) lane.failures = 0;
    ++counters.restarts;
    lane.replica.start();
  } catch (const Error& error) {
    lane.replica.stop();
    lane.is_down = true;
    if (std::ranges::all_of(lanes, [](const auto& one) { return one->is_down; }))
      finish_all(Finish::kFailed, error.what());
  }
}

// Lanes that have failed too often are tried again when there is something to do.
void Engine::Impl::revive() {
  if (queue.empty()) return;
  for (const auto& lane : lanes) {
    if (!lane->is_down) continue;
    lane->is_down = false;
    lane->failures = kMostRestarts;  // one more chance
    try {
      ++counters.restarts;
      lane->replica.start();
    } catch (const Error& error) {
      lane_failed(*lane, error.what());
    }
  }
}

void Engine::Impl::finish(Sequence& sequence, Finish how, const std::string& sentence) {
  for (const auto& lane : lanes)
    if (std::ranges::find(lane->scheduler.sequences(), &sequence) != lane->scheduler.sequences().end())
      lane->scheduler.leave(sequence);
  queue.remove(sequence);
  const auto node = sequences.extract(sequence.id);
  if (how == Finish::kCancelled)
    ++counters.cancelled;
  else if (how == Finish::kFailed)
    ++counters.failed;
  else
    ++counters.finished;
  publish();  // who hears of the end may look at once
  if (node.mapped()->callbacks.finished) node.mapped()->callbacks.finished(how, sentence);
}

void Engine::Impl::finish_all(Finish how, const std::string& sentence) {
  while (!sequences.empty()) finish(*sequences.begin()->second, how, sentence);
}

void Engine::Impl::publish() {
  counters.running = counters.cache_used = counters.preempted = counters.prompt_tokens_shared = 0;
  counters.ready = false;
  for (const auto& lane : lanes) {
    counters.running += lane->scheduler.running();
    counters.cache_used += lane->scheduler.cache().held() * kPageTokens;
    counters.preempted += lane->scheduler.preempted();
    counters.prompt_tokens_shared += lane->scheduler.shared_tokens();
    counters.ready = counters.ready || lane->replica.is_ready();
  }
  const std::lock_guard lock(mutex);
  counters.queued = queue.size() + static_cast<int64_t>(incoming.size());
  published = counters;
}

}  // namespace shoal::infer
