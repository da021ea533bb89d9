#include "comm/shm/communicator.h"

#include <exception>
#include <map>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/text.h"
#include "comm/shm/link.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

// The name of the n-th group of these ranks: what all of them can work out, and (but for one in 2^64) nobody
// else does.
uint64_t id_of(std::span<const int> ranks, uint64_t n) {
  uint64_t id = n;
  for (const int rank : ranks) id = random_bits(id, ranks.size(), static_cast<uint64_t>(rank));
  return id == 0 ? 1 : id;
}

class ShmCommunicator : public Communicator {
 public:
  ShmCommunicator(std::shared_ptr<SharedMemory> memory, int rank)
      : waiter_(memory, rank), messages_(waiter_), heap_(memory, rank) {}
  ~ShmCommunicator() override {
    // Others must not read a rank that fails as one that ended well.
    if (std::uncaught_exceptions() > 0) memory().fail(rank(), "an exception ended it");
    memory().leave(rank());
  }

  int rank() const override { return waiter_.rank(); }
  int size() const override { return memory().ranks(); }

  std::unique_ptr<Link> link(std::span<const int> ranks) override {
    waiter_.check_failure();
    std::vector<int> list(ranks.begin(), ranks.end());
    const uint64_t id = id_of(list, made_[list]++);
    return std::make_unique<ShmLink>(waiter_, messages_, heap_, id, std::move(list));
  }

  void abort(std::string_view reason) noexcept override { memory().fail(rank(), reason); }
  void set_activity(std::string_view activity) noexcept override {
    memory().state(rank()).activity.set(activity);
  }
  std::string activity() const override { return memory().state(rank()).activity.get(); }
  std::string waiting() const override { return waiter_.waiting(); }

 private:
  SharedMemory& memory() const { return waiter_.memory(); }

  Waiter waiter_;
  Messages messages_;
  Heap heap_;
  std::map<std::vector<int>, uint64_t> made_;  // groups so far, by their ranks
};

}  // namespace

std::unique_ptr<Communicator> shm_communicator(std::shared_ptr<SharedMemory> memory, int rank) {
  if (memory->state(rank).attached.exchange(1) != 0)
    throw JobError(cat("rank ", rank,
                       " - communicator: got asked twice, want once per rank; a child process cannot take "
                       "its parent's rank"));
  return std::make_unique<ShmCommunicator>(std::move(memory), rank);
}

}  // namespace shoal::comm
