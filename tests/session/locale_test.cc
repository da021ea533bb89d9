// A program whose locale groups digits, as std::locale::global(std::locale("de_DE")) has them: what people
// read may change, files and hashes may not.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <locale>

#include "comm/comm.h"
#include "models/mlp.h"
#include "shoal/shoal.h"
#include "state/checkpoint.h"
#include "state/support.h"

namespace shoal {
namespace {

using models::Mlp;
const models::MlpConfig kConfig{
    .inputs = 20, .width = 4000, .layers = 1, .outputs = 3};  // two blocks, large dims

/// The locale of the program while this lives.
class GroupedDigits {
 public:
  GroupedDigits() : before_(std::locale::global(std::locale(std::locale(), new Grouped))) {}
  ~GroupedDigits() { std::locale::global(before_); }

 private:
  struct Grouped : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before_;
};

Batch batch_of(int64_t seed) {
  const auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return {torch::randn({4, kConfig.inputs}, generator),
          torch::randint(kConfig.outputs, {4}, generator, torch::kLong)};
}

struct Trained {
  World world{comm::single()};
  Trainer trainer{
      world,
      describe([] { return Mlp(kConfig); }),
      [](Mlp& mlp, const Batch& batch) { return torch::cross_entropy_loss(mlp(batch[0]), batch[1]); },
      {.optimizer = AdamW{.lr = 0.0015}, .tensor_chunks = 2}};
};

TEST(LocaleTest, ARunInALocaleThatGroupsDigitsIsTheSameRun) {
  const state::TemporaryFolder folder;
  const auto to_step_two = [&](const std::string& name) {
    Trained run;
    run.trainer.step(batch_of(1));
    run.trainer.step(batch_of(2));
    run.trainer.save(folder / name / "step-2");
  };
  const auto go_on = [&](const std::string& name) {
    Trained run;
    run.trainer.prepare(batch_of(1));
    run.trainer.load(folder / name / "step-2");
    return run.trainer.step(batch_of(3)).loss;
  };
  to_step_two("plain");
  const float plain = go_on("plain");
  float grouped = 0;
  {
    const GroupedDigits locale;
    to_step_two("grouped");
    grouped = go_on("plain");
  }
  EXPECT_EQ(grouped, plain);
  EXPECT_EQ(go_on("grouped"), plain);
  EXPECT_EQ(state::content_hash(folder / "grouped"), state::content_hash(folder / "plain"));
  for (const char* const file : {"manifest.json", "owner-00000.safetensors"})
    EXPECT_TRUE(state::read_text(folder / "grouped" / "step-2" / file) ==
                state::read_text(folder / "plain" / "step-2" / file))
        << file;
}

}  // namespace
}  // namespace shoal
