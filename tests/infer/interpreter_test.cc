// Programs on ranks that are threads: every division and every way to cut a prompt gives one device's bits.
#include "infer/interpreter.h"

#include <cstring>
#include <mutex>

#include "comm/launch.h"
#include "infer/kernels/kernels.h"
#include "infer/support.h"

namespace shoal::infer {
namespace {

using formats::Architecture;
using formats::WeightType;

constexpr int64_t kPages = 8;

// Logits after every token of the sequence, whose steps have these rows; its pages lie anywhere.
std::vector<float> logits_of(const std::string& path, int64_t tp, int64_t pp,
                             const std::vector<Token>& tokens, const std::vector<int64_t>& steps,
                             std::vector<int32_t> pages) {
  const auto file = formats::open_model(path);
  const auto names = file->weight_names();
  const int64_t vocabulary = file->config().vocabulary;
  const StepLimits limits{.rows = 64,
                          .sequences = 4,
                          .pages = 16,
                          .logits = 64,
                          .vocabulary = vocabulary,
                          .width = file->config().width};
  std::vector<float> all(tokens.size() * static_cast<size_t>(vocabulary));
  std::vector<float> states(64 * static_cast<size_t>(file->config().width));
  std::vector<Program> programs;
  for (int64_t rank = 0; rank < tp * pp; ++rank)
    programs.push_back(
        build_program(file->config(), {names.begin(), names.end()}, tp, pp, rank, file->place()));
  EXPECT_EQ(check_programs(programs), "");
  comm::run_threads(static_cast<int>(tp * pp), [&](comm::Communicator& communicator) {
    Interpreter interpreter(programs[static_cast<size_t>(communicator.rank())], file, limits, kPages, 96,
                            communicator);
    int64_t done = 0;
    for (const int64_t rows : steps) {
      StepData step;
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t position = done + row;
        step.tokens.push_back(tokens[static_cast<size_t>(position)]);
        step.positions.push_back(static_cast<int32_t>(position));
        step.places.push_back(pages[static_cast<size_t>(position / kPageTokens)] * kPageTokens +
                              position % kPageTokens);
        step.results.push_back(static_cast<int32_t>(row));
      }
      step.sequences.push_back({0, static_cast<int32_t>(rows), static_cast<int32_t>(done + rows), 0});
      step.pages = pages;
      step.num_logits = rows;
      interpreter.run(view(step), all.data() + done * vocabulary, states.data());
      done += rows;
    }
  });
  return all;
}

TEST(InferInterpreter, NeitherLayoutNorChunksNorPagesChangeABit) {
  for (const auto architecture : {Architecture::kLlama, Architecture::kGpt2})
    for (const auto type : {WeightType::kF32, WeightType::kQ4_1, WeightType::kBF16}) {
      const TinyFile file(architecture, type);
      std::mt19937 random(3);
      const std::vector<Token> tokens = random_tokens(random, 40);
      const std::vector<float> whole = logits_of(file.path(), 1, 1, tokens, {40}, {0, 1, 2});
      EXPECT_NE(whole[0], whole[1]);
      const auto expect_same = [&](const std::vector<float>& other, const char* what) {
        EXPECT_EQ(std::memcmp(whole.data(), other.data(), whole.size() * sizeof(float)), 0)
            << what << " type " << static_cast<int>(type) << " architecture "
            << static_cast<int>(architecture);
      };
      expect_same(logits_of(file.path(), 1, 1, tokens, std::vector<int64_t>(40, 1), {5, 0, 3}),
                  "token by token");
      expect_same(logits_of(file.path(), 2, 1, tokens, {7, 20, 13}, {2, 1, 0}), "tp=2");
      expect_same(logits_of(file.path(), 3, 1, tokens, {40}, {2, 1, 0}), "tp=3");
      expect_same(logits_of(file.path(), 5, 1, tokens, {39, 1}, {2, 1, 0}), "tp=5, more than heads");
      expect_same(logits_of(file.path(), 1, 2, tokens, {16, 24}, {0, 1, 2}), "pp=2");
      expect_same(logits_of(file.path(), 2, 3, tokens, {40}, {7, 1, 2}), "tp=2,pp=3");
    }
}

TEST(InferInterpreter, AModelThatLacksAWeightIsRefused) {
  formats::TemporaryFolder folder;
  const auto path = folder.path() / "model.gguf";
  auto config = tiny_config(Architecture::kLlama);
  formats::write_tiny_gguf(path, formats::tiny_model(config, WeightType::kF32), "llama");
  const auto file = formats::open_model(path);
  config.hidden = 80;  // another shape than the file's
  Program program = build_program(config, {}, 1, 1, 0, "model");
  const auto communicator = comm::single();
  EXPECT_ERROR(
      Interpreter(program, file,
                  {.rows = 4, .sequences = 1, .pages = 4, .logits = 4, .vocabulary = 40, .width = 64}, 4, 8,
                  *communicator),
      InputError, path.string() + " - blk.0.ffn_down.weight: got [64, 96], want [64, 80]");
}

}  // namespace
}  // namespace shoal::infer
