// Agreement over every transport: what differs is named, in the same words on every rank, whatever the others
// do.
#include "comm/agree.h"

#include <chrono>
#include <thread>

#include "comm/collectives.h"
#include "conformance/transports.h"

namespace shoal::comm {
namespace {

class Agree : public OnRanks {
 protected:
  // Each rank states what `statement` gives for it; every one of them must throw `want`.
  void expect_disagreement(const std::function<Statement(int rank)>& statement,
                           const std::string& want) const {
    run_well([&](Group& world) {
      Agreement agreement(world.communicator());
      std::string got;
      try {
        agreement.agree(statement(world.rank()));
      } catch (const Disagreement& error) {
        got = error.what();
      }
      EXPECT_EQ(got, world.size() > 1 ? want : "");
      agreement.agree({"here - step 4", "step", {{"lr", "1"}}});  // the job could go on
    });
  }
  int last() const { return size() - 1; }
};
SHOAL_ON_RANKS(Agree, Transport::kThreads, Transport::kFetching, Transport::kShm);

TEST_P(Agree, OnWhatIsAlike) {
  run_well([](Group& world) {
    Agreement agreement(world.communicator());
    for (int step = 0; step < 300; ++step)
      agreement.agree(
          {"here - step", "step", {{"number", std::to_string(step)}, {"text", std::string(9000, 'x')}}});
  });
}

TEST_P(Agree, ADifferentValueIsNamedWithBothSides) {
  expect_disagreement(
      [&](int rank) -> Statement {
        return {"here - step 3",
                "step",
                {{"seed", "1"},
                 {"optimizer.lr", rank == last() ? "0.01" : "0.001"},
                 {"clip", rank == 0 ? "1" : "2"}}};
      },
      "here - step 3: rank " + std::to_string(last()) +
          " has optimizer.lr 0.01, rank 0 has 0.001; every device must run the same program");
}

TEST_P(Agree, OfATextTheFirstLineThatDiffers) {
  const auto text = [&](int rank) { return rank == last() ? "a\nb\nc\n" : "a\nB\nc\n"; };
  expect_disagreement(
      [&](int rank) -> Statement { return {"here", "step", {{"the graph", text(rank)}}}; },
      "here: rank " + std::to_string(last()) +
          " has in line 2 of the graph \"b\", rank 0 has \"B\"; every device must run the same program");
  expect_disagreement(
      [&](int rank) -> Statement {
        return {"here", "step", {{"the graph", rank == last() ? "a\nb" : "a\nb\nc"}}};
      },
      "here: rank " + std::to_string(last()) +
          " has in line 3 of the graph nothing more, rank 0 has \"c\"; every device must run the same "
          "program");
}

TEST_P(Agree, OfAHashOnlyThatItDiffers) {
  expect_disagreement(
      [&](int rank) -> Statement {
        return {"here", "step", {{"value of w", rank == last() ? "5af1" : "77be", "call manual_seed", true}}};
      },
      "here: rank " + std::to_string(last()) + " has another value of w than rank 0; call manual_seed");
}

TEST_P(Agree, WhatOneRankLacksIsNamed) {
  const std::string name = "rank " + std::to_string(last());
  expect_disagreement(
      [&](int rank) -> Statement {
        return rank == last() ? Statement{"here", "step", {}}
                              : Statement{"here", "step", {{"bias", "f32[3]"}}};
      },
      "here: " + name + " has no bias, rank 0 has bias f32[3]; every device must run the same program");
  expect_disagreement(
      [&](int rank) -> Statement {
        return rank != last() ? Statement{"here", "step", {}}
                              : Statement{"here", "step", {{"bias", "f32[3]"}}};
      },
      "here: " + name + " has bias f32[3], rank 0 has none; every device must run the same program");
}

TEST_P(Agree, RanksInUnlikeCallsMeet) {
  expect_disagreement(
      [&](int rank) -> Statement {
        return rank == last() ? Statement{"trainer - step 7", "step", {{"shapes", "f32[2]"}}}
                              : Statement{"trainer - after step 6: save", "save", {}};
      },
      "trainer - calls: rank 0 calls save, rank " + std::to_string(last()) +
          " calls step; every device makes the same collective calls in the same order");
}

// What is exchanged in between does not disturb the hashes, nor they it.
TEST_P(Agree, BetweenOtherCollectives) {
  run_well([](Group& world) {
    Agreement agreement(world.communicator());
    for (int round = 0; round < 50; ++round) {
      agreement.agree({"here", "step", {{"round", std::to_string(round)}}});
      const auto mine = pattern_bytes(world.rank(), static_cast<size_t>(round), 100);
      const auto all = all_gather(world, mine);
      for (int rank = 0; rank < world.size(); ++rank)
        ASSERT_EQ(all[static_cast<size_t>(rank)], pattern_bytes(rank, static_cast<size_t>(round), 100));
    }
  });
}

TEST_P(Agree, ARankThatEndedIsNamedWithWhatItDidLast) {
  if (size() == 1) return;
  const auto begin = std::chrono::steady_clock::now();
  const std::string sentence = run(transport(), size(), [&](Group& world) {
    Agreement agreement(world.communicator());
    world.communicator().set_activity("after step 3");
    world.barrier();
    if (world.rank() == 1) return;
    if (world.rank() > 1) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    world.communicator().set_activity("after step 3: save");
    agreement.agree({"trainer - after step 3: save", "save", {}});
  });
  EXPECT_EQ(sentence, "rank 0, after step 3: save - barrier: rank 1 ended before (after step 3)");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

}  // namespace
}  // namespace shoal::comm
