#include "session/calls.h"

#include <chrono>

#include "base/text.h"
#include "comm/collectives.h"

namespace shoal::session {

std::string Calls::between_steps() const {
  return steps_ == 0 ? "before step 0" : cat("after step ", steps_ - 1);
}
std::string Calls::now(std::string_view what) const { return cat(between_steps(), ": ", what); }

double Calls::agree(const std::string& place, const std::string& call, std::vector<comm::Fact> facts) const {
  const auto start = std::chrono::steady_clock::now();
  set_activity(place);
  facts.insert(facts.begin(), {"steps_done()", cat(steps_)});
  world_.agreement().agree(
      {cat("trainer - ", place), number_ == 1 ? call : cat(call, " of trainer ", number_), std::move(facts)});
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Calls::fail() const {
  try {
    run::rethrow_with_place(communicator_);
  } catch (const Error& error) {
    end_job(error);
  }
}

void Calls::end_job(const Error& error) const {
  if (communicator_.size() > 1) communicator_.abort(error.what());
  throw;
}

void check_same_evaluations(comm::Group& group, const std::string& place,
                            const std::map<std::string, std::string>& mine) {
  std::string lines;
  for (const auto& [shapes, hash] : mine) lines += cat(shapes, "\n", hash, "\n");
  std::map<std::string, std::pair<std::string, int>> first;  // by shapes: the hash, and who has it
  int rank = 0;
  for (const std::string& text : comm::all_gather_texts(group, lines)) {
    const auto theirs = split(text, '\n');
    for (size_t i = 0; i + 1 < theirs.size(); i += 2) {
      const auto& [hash, owner] = first.try_emplace(theirs[i], theirs[i + 1], rank).first->second;
      if (hash != theirs[i + 1])
        throw comm::Disagreement(cat("trainer - ", place, ": with tensors ", theirs[i], " rank ", rank,
                                     " has another graph than rank ", owner,
                                     "; every device must run the same program"));
    }
    ++rank;
  }
}

}  // namespace shoal::session
