#include "data/rounds.h"

#include <algorithm>

#include "base/text.h"
#include "comm/collectives.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
constexpr char kGoOn = '+', kStop = '-';  // first character of a rank's message
}  // namespace

std::vector<std::string> in_rounds(comm::Group& comm, int64_t num_items,
                                   const std::function<std::string(int64_t)>& work,
                                   const std::function<void(int64_t)>& after_round) {
  std::vector<std::string> results;
  for (int64_t first = 0; first < num_items; first += comm.size()) {
    const int64_t mine = first + comm.rank();
    const std::string result = mine < num_items ? work(mine) : "";
    const std::string message = cat(comm::stop_requested() ? kStop : kGoOn, result);
    bool stop = false;
    for (const std::string& text : comm::all_gather_texts(comm, message)) {
      stop = stop || text.front() == kStop;
      if (static_cast<int64_t>(results.size()) < num_items) results.push_back(text.substr(1));
    }
    after_round(static_cast<int64_t>(results.size()));
    if (stop) throw JobError("stopped on request; the same command again goes on from here");
  }
  return results;
}

std::string share_text(comm::Group& comm, int root, const std::string& text) {
  const std::string mine = comm.rank() == root ? text : "";
  return comm::all_gather_texts(comm, mine)[static_cast<size_t>(root)];
}

}  // namespace shoal::data
