#include "infer/scheduler.h"

#include <algorithm>

namespace shoal::infer {
namespace {

constexpr int64_t kLeastChunk = 64;

int64_t pages_of(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }
int64_t start_of(const Sequence& sequence) { return sequence.computed + sequence.under_way; }
int64_t left_of(const Sequence& sequence) { return sequence.length() - start_of(sequence); }

bool is_in(const Step& step, const Sequence& sequence) {
  return std::ranges::any_of(step.parts, [&](const StepPart& part) { return part.sequence == &sequence; });
}

}  // namespace

Scheduler::Scheduler(const ScheduleOptions& options)
    : options_(options), cache_(options.pages, options.prefix_cache) {}

std::optional<Step> Scheduler::next_step(FairQueue& queue, int64_t most) {
  Step step;
  add_answers(step, queue);
  add_prompts(step, queue);
  admit(step, queue, most);
  if (step.parts.empty()) return std::nullopt;
  StepData& data = step.data;
  data.num_logits = static_cast<int64_t>(data.results.size());
  data.results.insert(data.results.end(), step.state_rows.begin(), step.state_rows.end());
  return step;
}

// With stages, several steps are under way, and each takes its share of the answers.
void Scheduler::add_answers(Step& step, FairQueue& queue) {
  const auto share = static_cast<size_t>((running() + options_.steps - 1) / options_.steps);
  const std::vector<Sequence*> now = running_;  // some may yield meanwhile
  for (Sequence* const sequence : now) {
    if (step.parts.size() >= share) return;
    if (std::ranges::find(running_, sequence) == running_.end()) continue;
    if (sequence->computed == 0 || left_of(*sequence) != 1) continue;
    if (static_cast<int64_t>(step.parts.size()) >= options_.limits.sequences ||
        step.answers >= options_.limits.rows)
      return;
    if (!make_room(*sequence, sequence->length(), step, queue)) continue;
    append(step, *sequence, 1);
    ++step.answers;
  }
}

void Scheduler::add_prompts(Step& step, FairQueue& queue) {
  const std::vector<Sequence*> now = running_;
  for (Sequence* const sequence : now) {
    if (std::ranges::find(running_, sequence) == running_.end() || is_in(step, *sequence)) continue;
    const int64_t rows = chunk(step, *sequence);
    if (rows < 1) continue;
    if (make_room(*sequence, start_of(*sequence) + rows, step, queue)) append(step, *sequence, rows);
  }
}

void Scheduler::admit(Step& step, FairQueue& queue, int64_t most) {
  while (running() < most) {
    Sequence* const next = queue.next();
    if (!next) return;
    share_prefix(*next);
    const int64_t rows = chunk(step, *next), free = cache_.pages() - cache_.held();
    // Room for all that is known of it: else it would join only to yield.
    const bool fits = free >= pages_of(next->length() + 1) - static_cast<int64_t>(next->pages.size());
    if (rows < 1 || (!fits && running() > 0) || !hold_pages(*next, start_of(*next) + rows))
      return leave(*next);
    shared_tokens_ += next->computed;
    queue.take(*next);
    running_.insert(
        std::ranges::upper_bound(running_, next->id, {}, [](const Sequence* one) { return one->id; }), next);
    append(step, *next, rows);
  }
}

// Beside answers, prompts take a quarter of the rows, so that nobody who reads waits long for the next token.
int64_t Scheduler::chunk(const Step& step, const Sequence& sequence) const {
  if (static_cast<int64_t>(step.parts.size()) >= options_.limits.sequences) return 0;
  const int64_t taken = static_cast<int64_t>(step.data.tokens.size());
  int64_t most = options_.limits.rows;
  if (step.answers > 0) most = std::min(most, step.answers + std::max(kLeastChunk, most / 4));
  int64_t rows = std::min(left_of(sequence), most - taken);
  if (!sequence.embedded) {
    const int64_t logits = options_.limits.logits - static_cast<int64_t>(step.data.results.size());
    rows = std::min(rows, logits + std::max<int64_t>(0, sequence.results_until() - start_of(sequence)));
  }
  return rows;
}

void Scheduler::share_prefix(Sequence& sequence) {
  while (sequence.computed + kPageTokens <= sequence.results_until()) {
    const std::span<const Token> tokens(sequence.tokens);
    const auto found =
        cache_.find(sequence.prefix, tokens.subspan(static_cast<size_t>(sequence.computed), kPageTokens));
    if (!found) return;
    sequence.pages.push_back(found->page);
    sequence.prefix = found->prefix;
    ++sequence.filled;
    sequence.computed += kPageTokens;
  }
}

bool Scheduler::hold_pages(Sequence& sequence, int64_t tokens) {
  while (static_cast<int64_t>(sequence.pages.size()) < pages_of(tokens)) {
    const auto page = cache_.allocate();
    if (!page) return false;
    sequence.pages.push_back(*page);
  }
  return true;
}

// Whoever is in this step already keeps its pages; it goes on, so there will be room.
Sequence* Scheduler::last_to_come(const Sequence& than, const Step& step) const {
  for (auto one = running_.rbegin(); one != running_.rend() && (*one)->id > than.id; ++one)
    if (!is_in(step, **one)) return *one;
  return nullptr;
}

bool Scheduler::make_room(Sequence& sequence, int64_t tokens, const Step& step, FairQueue& queue) {
  while (!hold_pages(sequence, tokens)) {
    Sequence* const yields = last_to_come(sequence, step);
    if (!yields) return false;
    leave(*yields);
    queue.add(*yields);
    ++preempted_;
  }
  return true;
}

void Scheduler::append(Step& step, Sequence& sequence, int64_t rows) {
  StepData& data = step.data;
  const int64_t first = start_of(sequence), until = first + rows,
                first_row = static_cast<int64_t>(data.tokens.size());
  std::vector<int32_t>& wanted = sequence.embedded ? step.state_rows : data.results;
  const int64_t first_wanted = std::min(until, std::max(first, sequence.results_until()));
  step.parts.push_back({&sequence, sequence.id, sequence.epoch, first, rows,
                        static_cast<int64_t>(wanted.size()), until - first_wanted});
  data.sequences.push_back({static_cast<int32_t>(first_row), static_cast<int32_t>(rows),
                            static_cast<int32_t>(until), static_cast<int32_t>(data.pages.size())});
  data.pages.insert(data.pages.end(), sequence.pages.begin(), sequence.pages.begin() + pages_of(until));
  for (int64_t position = first; position < until; ++position) {
    data.tokens.push_back(sequence.tokens[static_cast<size_t>(position)]);
    data.positions.push_back(static_cast<int32_t>(position));
    data.places.push_back(sequence.pages[static_cast<size_t>(position / kPageTokens)] * kPageTokens +
                          position % kPageTokens);
    if (position >= first_wanted) wanted.push_back(static_cast<int32_t>(first_row + position - first));
  }
  sequence.under_way += rows;
}

std::vector<bool> Scheduler::done(const Step& step) {
  std::vector<bool> counts;
  for (const StepPart& part : step.parts) {
    const bool stands = std::ranges::any_of(running_, [&](const Sequence* one) {
      return one == part.sequence && one->id == part.id && one->epoch == part.epoch;
    });
    counts.push_back(stands);
    if (!stands) continue;
    Sequence& sequence = *part.sequence;
    sequence.under_way -= part.rows;
    sequence.computed += part.rows;
    for (; (sequence.filled + 1) * kPageTokens <= sequence.computed; ++sequence.filled) {
      const std::span<const Token> tokens(sequence.tokens);
      sequence.prefix =
          cache_.fill(sequence.pages[static_cast<size_t>(sequence.filled)], sequence.prefix,
                      tokens.subspan(static_cast<size_t>(sequence.filled * kPageTokens), kPageTokens));
    }
  }
  return counts;
}

// The last page first: what others may still find from the beginning on is the last to be taken.
void Scheduler::leave(Sequence& sequence) {
  std::erase(running_, &sequence);
  while (!sequence.pages.empty()) {
    cache_.release(sequence.pages.back());
    sequence.pages.pop_back();
  }
  sequence.prefix = PageCache::kEmpty;
  sequence.filled = sequence.computed = sequence.under_way = 0;
  ++sequence.epoch;
}

std::vector<Sequence*> Scheduler::reset() {
  const std::vector<Sequence*> all = running_;
  for (Sequence* const sequence : all) leave(*sequence);
  cache_.clear();
  return all;
}

}  // namespace shoal::infer
