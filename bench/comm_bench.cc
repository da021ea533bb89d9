// The collectives of src/comm over shared memory: comm_bench [RANKS], by default 2. Prints
// "name,bytes,microseconds" lines: the median of 9 samples of the mean of back-to-back calls, the slowest
// rank of each sample (as the OSU benchmarks do). comm_mpi.c measures the same over MPI, comm.py both in
// turn.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "base/text.h"
#include "comm/collectives.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kLargest = size_t{64} << 20;
constexpr int kSamples = 9;

class Bench {
 public:
  explicit Bench(Group& world) : world_(world) {}

  void run(const char* name, size_t bytes, int calls, const std::function<void()>& call) {
    std::vector<double> samples;
    call();
    for (int sample = 0; sample < kSamples; ++sample) {
      world_.barrier();
      const auto begin = Clock::now();
      for (int i = 0; i < calls; ++i) call();
      const double mine = std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / calls;
      double slowest = 0;
      for (const auto& theirs : comm::all_gather(world_, std::as_bytes(std::span(&mine, 1)))) {
        double value;
        std::memcpy(&value, theirs.data(), sizeof value);
        slowest = std::max(slowest, value);
      }
      samples.push_back(slowest);
    }
    std::sort(samples.begin(), samples.end());
    if (world_.rank() == 0)
      std::printf("%s,%zu,%.3f\n", name, bytes, samples[kSamples / 2]), std::fflush(stdout);
  }

 private:
  Group& world_;
};

void bench_collectives(Group& world) {
  Bench bench(world);
  std::vector<std::byte> mine(kLargest), whole(kLargest);
  const std::span<const std::byte> given(mine);
  const std::span<std::byte> asked(whole);
  for (const auto& [bytes, calls] :
       {std::pair<size_t, int>{8, 500}, {1 << 10, 500}, {64 << 10, 200}, {1 << 20, 40}, {kLargest, 2}})
    bench.run("all_reduce", bytes, calls, [&] { all_reduce(world, DType::kF32, given.first(bytes), asked.first(bytes)); });
  const size_t part = kLargest / sizeof(float) / world.size() * sizeof(float), all = part * world.size();
  bench.run("reduce_scatter", kLargest, 2,
            [&] { reduce_scatter(world, DType::kF32, given.first(all), asked.first(part)); });
  bench.run("all_gather", kLargest, 2, [&] { all_gather(world, given.first(part), asked.first(all)); });
  bench.run("broadcast", kLargest, 2, [&] { broadcast(world, 0, asked); });
  std::byte message[8] = {};
  bench.run("pingpong", sizeof message, 500, [&] {
    if (world.rank() == 0) world.send(1, message), world.recv(1, message);
    if (world.rank() == 1) world.recv(0, message), world.send(0, message);
  });
}

// The loop of a training step: each rank sums its half of everyone's gradients, block by block, into private
// memory.
void bench_sums(Group& world) {
  Bench bench(world);
  constexpr int64_t kElements = 30 << 20;
  const auto window = world.window(kElements * sizeof(float));
  std::memset(window->mine().data(), 0, window->mine().size());
  const Range mine = share(kElements / kBlockElements, world.size(), world.rank());
  std::vector<float> out(mine.size() * kBlockElements);
  std::vector<Root> roots(world.size());
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const size_t width = element_bytes(dtype), block = kBlockElements * width;
    bench.run(dtype == DType::kF32 ? "sum_roots_fp32" : "sum_roots_bf16", kElements * width, 2, [&] {
      for (int64_t i = 0; i < mine.size(); ++i) {
        for (int rank = 0; rank < world.size(); ++rank)
          roots[rank] = {{rank, rank + 1}, window->read(rank, (mine.begin + i) * block, block, {}), dtype};
        sum_roots(world.size(), roots,
                  {out.data() + i * kBlockElements, static_cast<size_t>(kBlockElements)});
      }
    });
  }
  // What the memory gives: as many bytes read as written.
  bench.run("memcpy", out.size() * sizeof(float), 2,
            [&] { std::memcpy(out.data(), window->mine().data(), out.size() * sizeof(float)); });
}

}  // namespace
}  // namespace shoal::comm

int main(int argc, char** argv) {
  using namespace shoal::comm;
  try {
    if (!is_launched()) return launch({argc > 1 ? std::atoi(argv[1]) : 2, {argv[0]}, "comm_bench"});
    const auto communicator = from_environment();
    Group world(*communicator);
    bench_collectives(world);
    bench_sums(world);
    return 0;
  } catch (const shoal::Error& error) {
    if (!report_failure(error.what(), error.exit_code()))
      std::fprintf(stderr, "comm_bench: %s\n", error.what());
    return error.exit_code();
  }
}
