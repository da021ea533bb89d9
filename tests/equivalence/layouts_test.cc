// The promise: for one run every layout gives the same bits, over every transport, stopped and resumed in any
// other.
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "equivalence/cells.h"
#include "models/mlp.h"
#include "shoal/shoal.h"
#include "state/checkpoint.h"
#include "support/eager_loop.h"

namespace shoal::test {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kRows = 5;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "shoal-layouts-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

using Run = std::function<void(const std::vector<Cell>&, const Layout&, const fs::path& out,
                               const fs::path& previous)>;

void over_threads(const std::vector<Cell>& cells, const Layout& layout, const fs::path& out,
                  const fs::path& previous) {
  World::threads(static_cast<int>(layout.devices()),
                 [&](World& world) { run_cells(world, cells, layout, out, previous); });
}

void over_shared_memory(const std::vector<Cell>& cells, const Layout& layout, const fs::path& out,
                        const fs::path& previous) {
  std::vector<size_t> indices;
  const auto all = all_cells();
  for (const Cell& cell : cells)
    indices.push_back(static_cast<size_t>(
        std::find_if(all.begin(), all.end(), [&](const Cell& c) { return c.name() == cell.name(); }) -
        all.begin()));
  const std::string command =
      cat(SHOAL_COMMAND, " run -n ", layout.devices(), " ", CELLS_PROGRAM, " ", join(indices, ","), " ",
          print(layout), " ", out.string(),
          previous.empty() ? "" : " ", previous.string());
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

// Runs the cells in each layout, resuming each time what the layout before had saved half-way; compares with
// the first. Prints a row for each layout: cells run and cells equal. Returns how many were run.
int expect_one_answer(const std::vector<Cell>& cells, const std::vector<Layout>& layouts, const Run& run) {
  const TemporaryFolder folder;
  std::map<std::string, Bits> reference;
  int all_run = 0, all_equal = 0;
  fs::path previous;
  for (size_t i = 0; i < layouts.size(); ++i) {
    const fs::path out = folder.path() / std::to_string(i);
    run(cells, layouts[i], out, previous);
    const auto results = read_results(out);
    const auto fit =
        std::count_if(cells.begin(), cells.end(), [&](const Cell& cell) { return suits(layouts[i], cell); });
    EXPECT_EQ(std::ssize(results), fit) << name_of(layouts[i]);
    int count = 0, equal = 0;
    for (const auto& [name, result] : results) {
      const Bits& want = reference.try_emplace(name, result.whole).first->second;
      for (const Bits* got : {&result.whole, &result.resumed}) {
        if (got->hash.empty()) continue;  // there was nothing to resume from
        ++count;
        equal += *got == want;
        const char* how = got == &result.whole ? " from the start" : " resumed";
        EXPECT_EQ(got->losses, want.losses)
            << name << " with " << name_of(layouts[i]) << how << ": losses differ";
        EXPECT_EQ(got->hash, want.hash)
            << name << " with " << name_of(layouts[i]) << how << ": the content hash differs";
      }
    }
    std::printf("%-32s devices %lld  cells run %3d  equal %3d\n", name_of(layouts[i]).c_str(),
                static_cast<long long>(layouts[i].devices()), count, equal);
    all_run += count;
    all_equal += equal;
    fs::remove_all(previous);
    previous = out;
  }
  std::printf("cells run %d, cells equal %d\n", all_run, all_equal);
  return all_run;
}

std::vector<Cell> cells_of(const std::function<bool(const Cell&)>& wanted) {
  std::vector<Cell> cells;
  for (const Cell& cell : all_cells())
    if (wanted(cell)) cells.push_back(cell);
  return cells;
}

// Uneven shares, rounds that are not full, a resume in each: the small part of the table.
TEST(Layouts, GiveOneAnswer) {
  const auto cells = cells_of([](const Cell& cell) { return cell.microbatches == 6; });
  const int run = expect_one_answer(cells,
                                    {{},
                                     {.dp = 4, .zero = 3},
                                     {.dp = 2, .zero = 0},
                                     {.dp = 3, .servers = 1},
                                     {.dp = 4, .zero = 2},
                                     {.dp = 6},
                                     {.dp = 4, .zero = 0},
                                     {.dp = 1, .servers = 2},
                                     {.dp = 2, .zero = 3}},
                                    over_threads);
  EXPECT_EQ(run, static_cast<int>(cells.size()) * 17);
}

// Four tensor chunks on one, two and four devices each, alone and with the data axis.
TEST(Layouts, GiveOneAnswerWithTensorChunks) {
  const auto cells = cells_of([](const Cell& cell) { return cell.chunks == 4; });
  const int run = expect_one_answer(cells,
                                    {{},
                                     {.tp = 2},
                                     {.dp = 2, .tp = 2, .zero = 3},
                                     {.tp = 4},
                                     {.dp = 3, .tp = 2, .servers = 2},
                                     {.dp = 2, .tp = 4, .zero = 0},
                                     {.dp = 2, .tp = 2, .zero = 2}},
                                    over_threads);
  EXPECT_EQ(run, static_cast<int>(cells.size()) * 13);
}

TEST(Layouts, GiveOneAnswerWithTensorChunksOverSharedMemory) {
  const auto cells = cells_of([](const Cell& cell) {
    return cell.chunks == 4 &&
           ((cell.model == Model::kTiedGpt && cell.bf16) || (cell.model == Model::kLlamaKv2 && !cell.bf16));
  });
  const int run = expect_one_answer(
      cells, {{}, {.tp = 2}, {.dp = 2, .tp = 2, .zero = 3}, {.tp = 4, .servers = 1}}, over_shared_memory);
  EXPECT_EQ(run, static_cast<int>(cells.size()) * 7);
}

TEST(Layouts, GiveOneAnswerOverSharedMemory) {
  const auto cells = cells_of(
      [](const Cell& cell) { return cell.microbatches == 6 && cell.model != Model::kMlp && cell.bf16; });
  const int run = expect_one_answer(
      cells, {{}, {.dp = 4, .zero = 3}, {.dp = 2, .servers = 1}, {.dp = 2, .zero = 0}}, over_shared_memory);
  EXPECT_EQ(run, static_cast<int>(cells.size()) * 7);
}

// Stages with every schedule, alone and with the other axes; what was stopped goes on in another cut.
TEST(Layouts, GiveOneAnswerInStages) {
  const auto cells = cells_of([](const Cell& cell) { return cell.microbatches == 6 && cell.chunks == 1; });
  const int run = expect_one_answer(cells,
                    {{},
                     {.pp = 2, .recompute = Recompute::kAll},
                     {.pp = 4, .schedule = Schedule::kGPipe},
                     {.dp = 2, .pp = 2, .schedule = Schedule::kZeroBubble, .recompute = Recompute::kSelective},
                     {.pp = 2, .schedule = Schedule::kInterleaved1F1B, .stages_per_device = 2},
                     {.pp = 2, .schedule = Schedule::kZeroBubbleV, .stages_per_device = 2, .recompute = Recompute::kAll},
                     {.dp = 4, .zero = 0, .pp = 2},
                     {.dp = 2, .zero = 3, .pp = 2, .recompute = Recompute::kAll},
                     {.dp = 3, .zero = 2, .pp = 2, .schedule = Schedule::kZeroBubble},
                     {.dp = 2, .zero = 3, .recompute = Recompute::kSelective},
                     {.pp = 3, .schedule = Schedule::kZeroBubbleH2},
                     {.recompute = Recompute::kAll},
                     {.servers = 1, .pp = 3}},
                    over_threads);
  EXPECT_EQ(run, 299);
}

TEST(Layouts, GiveOneAnswerInStagesWithTensorChunks) {
  const auto cells = cells_of([](const Cell& cell) { return cell.chunks == 4; });
  const int run = expect_one_answer(cells,
                    {{},
                     {.tp = 2, .pp = 2, .recompute = Recompute::kAll},
                     {.dp = 2, .tp = 2, .zero = 3, .pp = 2},
                     {.dp = 2, .tp = 2, .recompute = Recompute::kSelective},
                     {.tp = 4, .pp = 2, .schedule = Schedule::kZeroBubble}},
                    over_threads);
  EXPECT_EQ(run, 129);
}

TEST(Layouts, GiveOneAnswerInStagesOverSharedMemory) {
  const auto cells = cells_of(
      [](const Cell& cell) { return cell.microbatches == 6 && cell.model != Model::kMlp && cell.bf16; });
  const int run = expect_one_answer(cells, {{}, {.pp = 2}, {.dp = 2, .pp = 2, .schedule = Schedule::kZeroBubble}}, over_shared_memory);
  EXPECT_EQ(run, 25);
}

// All of it: SHOAL_ALL_CELLS=1, as `make test-all` sets it. Every layout of {dp, tp, zero, servers} on 1, 2,
// 4 and 8 devices, and some whose shares are uneven; M = 4, so that dp = 4 is one microbatch each.
std::vector<Layout> all_layouts(bool with_tp) {
  std::vector<Layout> layouts = {{}};
  for (const int64_t tp : with_tp ? std::vector<int64_t>{1, 2, 4} : std::vector<int64_t>{1})
    for (const int64_t dp : {1, 2, 4, 3}) {
      if (dp * tp > 8) continue;
      for (const int zero : {0, 1, 2, 3})
        if (dp > 1 || zero < 2) layouts.push_back({.dp = dp, .tp = tp, .zero = zero});
      for (const int64_t servers : {1, 2, 4})
        if (dp * tp + servers == 2 || dp * tp + servers == 4 || dp * tp + servers == 8)
          layouts.push_back({.dp = dp, .tp = tp, .servers = servers});
    }
  return layouts;
}

class AllLayouts : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (std::getenv("SHOAL_ALL_CELLS") == nullptr) GTEST_SKIP() << "set SHOAL_ALL_CELLS=1, or make test-all";
  }
};

TEST_P(AllLayouts, GiveOneAnswer) {
  const int64_t chunks = GetParam();
  const auto cells =
      cells_of([&](const Cell& cell) { return cell.microbatches == 4 && cell.chunks == chunks; });
  EXPECT_GE(expect_one_answer(cells, all_layouts(chunks > 1), over_threads), 300);
}

TEST_P(AllLayouts, GiveOneAnswerOverSharedMemory) {
  const int64_t chunks = GetParam();
  const auto cells =
      cells_of([&](const Cell& cell) { return cell.microbatches == 4 && cell.chunks == chunks; });
  std::vector<Layout> layouts = {{}, {.dp = 4, .zero = 3}, {.dp = 2, .zero = 2}, {.dp = 3, .servers = 1}};
  if (chunks > 1) layouts = {{}, {.dp = 2, .tp = 4, .zero = 3}, {.tp = 2, .servers = 2}, {.dp = 4, .tp = 2}};
  const int run = expect_one_answer(cells, layouts, over_shared_memory);
  EXPECT_EQ(run, static_cast<int>(cells.size()) * 7);
}
INSTANTIATE_TEST_SUITE_P(TensorChunks, AllLayouts, testing::Values(1, 4));

// The comparison can fail: another seed, another learning rate, or the same microbatches added in another
// order are another answer, each of them.
TEST(Layouts, AnotherRunIsAnotherAnswer) {
  struct Change {
    uint64_t seed = 11;
    double lr = 3e-3;
    std::vector<int64_t> order = {0, 1, 2, 3};
  };
  const auto answer = [](const Change& change) {
    const TemporaryFolder folder;
    std::string hash;
    World::threads(1, [&](World& world) {
      Trainer trainer(world,
                      describe([] { return models::Mlp(models::MlpConfig{.inputs = 24, .width = 60}); }),
                      [](models::Mlp& mlp, const Batch& batch) {
                        return torch::cross_entropy_loss(mlp(batch[0]), batch[1]);
                      },
                      {.optimizer = AdamW{.lr = change.lr}, .microbatches = 4, .seed = change.seed});
      for (int64_t step = 0; step < 3; ++step)
        trainer.step([&](int64_t m) -> Batch {
          const auto tokens = random_tokens(step, change.order[static_cast<size_t>(m)], kRows, 24, 1000);
          return {tokens[0].to(torch::kFloat) / 500.0 - 1.0, tokens[1].select(1, 0).remainder(10)};
        });
      trainer.save(folder.path() / "end");
      hash = state::content_hash(folder.path() / "end");
    });
    return hash;
  };
  const std::string same = answer({});
  EXPECT_EQ(answer({}), same);
  EXPECT_EQ(answer({.order = {1, 0, 3, 2}}), same);  // a + b is b + a
  EXPECT_NE(answer({.order = {2, 1, 0, 3}}), same);  // and (a + b) + (c + d) is not (c + b) + (a + d)
  EXPECT_NE(answer({.lr = 3.001e-3}), answer({}));
  EXPECT_NE(answer({.seed = 12}), answer({}));
}

}  // namespace
}  // namespace shoal::test
