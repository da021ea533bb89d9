// Work that all members finish or none, over every transport.
#include "comm/all_or_none.h"

#include "base/text.h"
#include "comm/collectives.h"
#include "conformance/transports.h"

namespace shoal::comm {
namespace {

class AllOrNone : public OnRanks {
 protected:
  // How the work of `group` ended on this rank.
  static std::string ending(Group& group, const std::function<std::string()>& work) {
    try {
      std::string all;
      for (const std::string& result : all_or_none(group, work)) all += result + ";";
      return all;
    } catch (const InputError& error) {
      return cat("input: ", error.what());
    } catch (const JobError& error) {
      return cat("job: ", error.what());
    }
  }
};
SHOAL_ON_RANKS(AllOrNone, Transport::kThreads, Transport::kFetching, Transport::kShm);

TEST_P(AllOrNone, GivesEveryonesResultToAll) {
  run_well([&](Group& world) {
    std::string want;
    for (int rank = 0; rank < size(); ++rank) want += std::string(static_cast<size_t>(rank), 'x') + ";";
    EXPECT_EQ(ending(world, [&] { return std::string(static_cast<size_t>(world.rank()), 'x'); }), want);
  });
}

TEST_P(AllOrNone, ThrowsOnAllWhatTheFirstThrew) {
  run_well([&](Group& world) {
    for (int first = 0; first < size(); ++first) {
      const auto fail_from = [&](auto error) {
        return ending(world, [&]() -> std::string {
          if (world.rank() >= first) throw error(world.rank());
          return "fine";
        });
      };
      EXPECT_EQ(fail_from([](int rank) { return InputError(cat("a.bin - size: ", rank)); }),
                cat("input: a.bin - size: ", first));
      EXPECT_EQ(fail_from([](int rank) { return JobError(cat("disk - full: ", rank)); }),
                cat("job: disk - full: ", first));
      EXPECT_EQ(fail_from([](int rank) { return std::runtime_error(cat("broke ", rank)); }),
                cat("job: rank ", first, " - broke ", first));
    }
    world.barrier();  // and they go on
  });
}

// A group of some ranks: the others hear nothing of it.
TEST_P(AllOrNone, StaysInItsGroup) {
  if (size() < 3) return;
  run_well([&](Group& world) {
    if (world.rank() > 1) return;
    Group pair(world.communicator(), {1, 0});
    EXPECT_EQ(ending(pair,
                     [&]() -> std::string {
                       if (pair.rank() == 1) throw InputError("no");
                       return "";
                     }),
              "input: no");
    EXPECT_EQ(ending(pair, [&] { return std::to_string(pair.rank()); }), "0;1;");
  });
}

}  // namespace
}  // namespace shoal::comm
