#include "run/arena.h"

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "kernels/cpu/cpu_device.h"

namespace shoal::run {
namespace {

const Arena::Placement kNowhere;

// A whole run in one scope.
struct OneRun {
  OneRun(Arena& arena, const Arena::Placement& placement) : arena(arena) {
    arena.begin();
    scope.emplace(arena, placement);
  }
  ~OneRun() {
    scope.reset();
    arena.end();
  }
  Arena& arena;
  std::optional<Arena::Scope> scope;
};

// Two temporaries and a result that outlives the run.
torch::Tensor work(int64_t size) {
  const torch::Tensor a = torch::ones({size});
  const torch::Tensor b = a * 2;
  return (a + b).sum();
}

TEST(Arena, ReplaysTheSamePlacesWithoutTheUsualAllocator) {
  Arena arena(kernels::cpu());
  std::vector<const void*> places;
  for (int run = 0; run < 5; ++run) {
    torch::Tensor result;
    {
      const OneRun run_of(arena, kNowhere);
      const torch::Tensor a = torch::ones({1000});
      places.push_back(a.data_ptr());
      result = (a * 3).sum();
    }
    EXPECT_EQ(result.item<float>(), 3000) << "run " << run;
  }
  EXPECT_EQ(places[2], places[3]);
  EXPECT_EQ(places[3], places[4]);
  EXPECT_GT(arena.bytes(), 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(places[4]) % 64, 0u);
}

TEST(Arena, WhatOutlivesARunKeepsItsNumbers) {
  Arena arena(kernels::cpu());
  std::vector<torch::Tensor> kept;
  for (int run = 0; run < 6; ++run) {
    const OneRun run_of(arena, kNowhere);
    kept.push_back(torch::full({500}, static_cast<float>(run)));
    work(2000);
  }
  for (int run = 0; run < 6; ++run)
    EXPECT_TRUE(torch::all(kept[static_cast<size_t>(run)] == run).item<bool>()) << run;
}

TEST(Arena, MemoryOfOneIsNotReusedWhileItLives) {
  Arena arena(kernels::cpu());
  for (int run = 0; run < 5; ++run) {
    const OneRun run_of(arena, kNowhere);
    std::vector<torch::Tensor> live;
    for (int i = 0; i < 20; ++i) {
      live.push_back(torch::full({100 + i}, static_cast<float>(i)));
      if (i % 3 == 0) live.erase(live.begin());
    }
    for (const torch::Tensor& t : live) EXPECT_TRUE(torch::all(t == t[0]).item<bool>());
    for (size_t i = 1; i < live.size(); ++i)
      EXPECT_EQ(live[i][0].item<float>(), live[i - 1][0].item<float>() + 1);
  }
}

TEST(Arena, ARunThatDiffersIsStillRight) {
  Arena arena(kernels::cpu());
  for (int64_t size : {10, 10, 10, 99, 10, 10, 10, 77, 10, 55, 10, 10, 44, 10}) {
    const OneRun run_of(arena, kNowhere);
    EXPECT_EQ(work(size).item<float>(), static_cast<float>(3 * size));
  }
}

int64_t resident_bytes() {
  int64_t mapped = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> mapped >> resident;
  return resident * ::getpagesize();
}

// The first runs' memory lies free in the heap, below something that lives on: it must not stay beside the
// region.
TEST(Arena, TheFirstRunsMemoryIsGivenBack) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer keeps freed memory for a while";
#endif
  constexpr int64_t kTensors = 256, kElements = 1 << 18;
  Arena arena(kernels::cpu());
  std::vector<torch::Tensor> lives_on;
  const int64_t before = resident_bytes();
  for (int run = 0; run < 4; ++run) {
    const OneRun run_of(arena, kNowhere);
    std::vector<torch::Tensor> all;
    for (int64_t i = 0; i < kTensors; ++i) all.push_back(torch::ones({kElements}));
    lives_on.push_back(torch::ones({100}));
  }
  const int64_t bytes = kTensors * kElements * 4;
  EXPECT_GE(static_cast<int64_t>(arena.bytes()), bytes);
  EXPECT_LT(resident_bytes() - before, bytes + bytes / 4);
}

// So many allocations that they are placed one after the other, as an allocator would: what lives at one time never shares
// memory, and freed room is used again.
TEST(Arena, ManyAllocationsAreKeptApart) {
  constexpr int64_t kAllocations = 25000, kAlive = 64;
  Arena arena(kernels::cpu());
  for (int run = 0; run < 4; ++run) {
    const OneRun run_of(arena, kNowhere);
    std::vector<torch::Tensor> alive(kAlive);
    for (int64_t i = 0; i < kAllocations; ++i) {
      torch::Tensor& place = alive[static_cast<size_t>(i * i % kAlive)];
      if (place.defined()) {
        const float first = place.data_ptr<float>()[0];
        ASSERT_EQ(place.data_ptr<float>()[place.numel() - 1], first) << "run " << run << ", allocation " << i;
      }
      place = torch::Tensor();
      place = torch::empty({1 + i * 7 % 300});
      place.fill_(static_cast<float>(i));
    }
  }
  EXPECT_GT(arena.bytes(), 0u);
  EXPECT_LE(arena.bytes(), size_t{4} << 20);
}

TEST(Arena, OutputsLieWhereTheyArePlaced) {
  Arena arena(kernels::cpu());
  alignas(64) float place[256] = {};
  const Arena::Placement placement = [&](int output) { return output == 7 ? place : nullptr; };
  for (int run = 0; run < 4; ++run) {
    const OneRun run_of(arena, placement);
    const torch::Tensor a = torch::ones({256}), b = a * 5;
    arena.mark_output(b.data_ptr(), b.nbytes(), 7);
    if (run >= 2) {
      EXPECT_EQ(b.data_ptr(), place) << "run " << run;
    }
  }
  EXPECT_EQ(place[255], 5);
}

}  // namespace
}  // namespace shoal::run
