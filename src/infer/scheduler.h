// What a replica does in its next step: a row for each answer that goes on, and chunks of prompts, as many as
// fit; requests join when there is room, and the last to come yields when there is none. Nothing here changes
// an answer: it decides only when something is computed.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "infer/fair_queue.h"
#include "infer/page_cache.h"
#include "infer/sequence.h"
#include "infer/step.h"

namespace shoal::infer {

struct ScheduleOptions {
  int64_t pages = 0;
  StepLimits limits;
  bool prefix_cache = true;
  int64_t steps = 1;  // under way at a time: as many as stages
};

/// Tokens [first, first + rows) of a sequence, in a step.
struct StepPart {
  Sequence* sequence;
  uint64_t id, epoch;
  int64_t first, rows;
  int64_t first_result, results;  // among the step's logits or, of an embedding, states; of its last rows
};

struct Step {
  std::vector<StepPart> parts;
  StepData data;
  int64_t answers = 0;              // parts that are one row of an answer
  std::vector<int32_t> state_rows;  // while it is put together: the end of data.results
};

/// Of one replica. Holds no sequence: who adds one keeps it until it has left. Belongs to one thread.
class Scheduler {
 public:
  explicit Scheduler(const ScheduleOptions&);

  /// The next step, if there is something to do. Takes sequences from the queue while fewer than `most` run,
  /// and puts back what had to yield.
  std::optional<Step> next_step(FairQueue&, int64_t most);
  /// The step has been computed. A part whose sequence has yielded or left since is void: `counts` says which
  /// stand. REQUIRES: steps are done in order.
  std::vector<bool> done(const Step&);
  /// It needs no further steps, or must start again: its pages are given back.
  void leave(Sequence&);
  /// All leave, and the cache is empty: the devices have started anew. Returns who was there.
  std::vector<Sequence*> reset();

  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  const std::vector<Sequence*>& sequences() const { return running_; }
  const PageCache& cache() const { return cache_; }
  int64_t preempted() const { return preempted_; }
  int64_t shared_tokens() const { return shared_tokens_; }  // of prompts, found in the cache

 private:
  void add_answers(Step&, FairQueue&);
  void add_prompts(Step&, FairQueue&);
  void admit(Step&, FairQueue&, int64_t most);
  void share_prefix(Sequence&);
  bool hold_pages(Sequence&, int64_t tokens);
  Sequence* last_to_come(const Sequence& than, const Step&) const;
  bool make_room(Sequence&, int64_t tokens, const Step&, FairQueue&);
  void append(Step&, Sequence&, int64_t rows);
  int64_t chunk(const Step&, const Sequence&) const;

  const ScheduleOptions options_;
  PageCache cache_;
  std::vector<Sequence*> running_;  // by arrival
  int64_t preempted_ = 0, shared_tokens_ = 0;
};

}  // namespace shoal::infer
