#include "app/recipe.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "app/recipe_keys.h"
#include "app/samples.h"
#include "base/text.h"
#include "data/build_store.h"
#include "mesh/layout.h"
#include "state/support.h"

namespace shoal::app {
namespace {

using state::sentence_of;
using state::TemporaryFolder;
using state::write_text;

// Line numbers count: the tests name them.
constexpr const char* kGpt = R"([model]
name = "gpt"
width = 64
heads = 4
context = 32

[data]
source = "random"

[train]
steps = 100
global_batch = 8
microbatches = 4

[layout]
devices = 2
)";

class RecipeTest : public testing::Test {
 protected:
  std::string file() const { return (folder_ / "r.toml").string(); }
  Recipe load(const std::string& text, const std::vector<std::string>& sets = {}) {
    write_text(file(), text);
    std::vector<Override> overrides;
    for (const std::string& assignment : sets) overrides.push_back(parse_override(assignment));
    return load_recipe(file(), overrides);
  }
  /// The sentence about `text`, without the folder's name.
  std::string refusal(const std::string& text, const std::vector<std::string>& sets = {}) {
    std::string sentence = sentence_of<InputError>([&] { load(text, sets); });
    const std::string prefix = folder_.path().string() + "/";
    for (size_t at; (at = sentence.find(prefix)) != std::string::npos;) sentence.erase(at, prefix.size());
    return sentence;
  }
  std::string refusal_of_set(const std::string& assignment) { return refusal(kGpt, {assignment}); }

  /// kGpt with one line replaced.
  static std::string with_line(size_t number, const std::string& line) {
    std::vector<std::string> lines = split(kGpt, '\n');
    lines[number - 1] = line;
    return join(lines, "\n");
  }

  TemporaryFolder folder_;
};

TEST_F(RecipeTest, TakesWhatIsGivenAndDefaultsForTheRest) {
  const Recipe recipe = load(
      kGpt, {"train.steps=7", "optimizer.lr=3e-4", "train.precision=bf16", "optimizer.betas=[0.8, 0.9]"});
  EXPECT_EQ(recipe.model.width, 64);
  EXPECT_EQ(recipe.model.vocabulary, 257);
  EXPECT_EQ(recipe.train.steps, 7);
  EXPECT_EQ(recipe.optimizer.lr, 3e-4);
  EXPECT_EQ(recipe.optimizer.betas[1], 0.9);
  EXPECT_EQ(recipe.precision(), Precision::kBF16);
  EXPECT_EQ(recipe.layout.devices, 2);
}

TEST_F(RecipeTest, TheTextOfARecipeReadsBackToTheSame) {
  const Recipe recipe = load(kGpt, {"optimizer.lr=1.1e-5", "optimizer.clip_norm=3", "model.dropout=0.1"});
  const std::string text = recipe_text(recipe);
  EXPECT_EQ(recipe_text(load(text)), text);
  EXPECT_NE(text.find("lr = 1.1e-05\n"), std::string::npos);
  EXPECT_EQ(text.find("momentum"), std::string::npos);
  const Recipe odd = load(kGpt, {"data.source=store", "data.path='a \"b\"\\c'"});
  EXPECT_EQ(load(recipe_text(odd)).data.path, "a \"b\"\\c");
}

// Each is something that people must learn: a new one says in its change why it is worth it.
TEST(RecipeKeys, AreFew) { EXPECT_EQ(recipe_keys().size(), 48); }

TEST_F(RecipeTest, EveryKeyHasADefaultThatItAccepts) {
  for (const Key& key : recipe_keys()) {
    if (key.need == Need::kRequired) continue;
    std::vector<std::string> sets = {cat(key.full_name(), "=", value_text(key.field, Recipe{}))};
    if (!key.only_key.empty()) sets.push_back(cat(key.only_key, "=", key.only_values[0]));
    const bool of_samples = key.only_key == "data.source" && key.only_values[0] == "samples";
    if (of_samples) sets.push_back("data.path=store");
    const bool classifies =
        of_samples || (key.only_key == "model.name" && (key.only_values[0] == "mlp" || key.only_values[0] == "resnet"));
    if (classifies) {
      EXPECT_NO_THROW(
          load("[model]\nname = \"mlp\"\n[data]\nsource = \"random\"\n[train]\nsteps = 1\n", sets))
          << key.full_name();
    } else {
      EXPECT_NO_THROW(load(kGpt, sets)) << key.full_name();
    }
  }
}

TEST_F(RecipeTest, AMissingFileOrOneThatIsNotToml) {
  EXPECT_EQ(sentence_of<InputError>([] { load_recipe("nowhere.toml"); }),
            "nowhere.toml - no such file: want a recipe (TOML)");
  EXPECT_EQ(
      sentence_of<InputError>([&] { load_recipe(folder_.path()); }),
      folder_.path().string() + " - no regular file, which each device could read: want a recipe (TOML)");
  const std::string fifo = folder_.path() / "fifo.toml";  // opening it would wait for a writer
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(sentence_of<InputError>([&] { load_recipe(fifo); }),
            fifo + " - no regular file, which each device could read: want a recipe (TOML)");
  EXPECT_EQ(sentence_of<InputError>([&] { parse_layout(fifo, "--layout"); }),
            fifo + " - no regular file, which each device could read: want a plan (TOML with a [layout])");
  EXPECT_TRUE(refusal(with_line(3, "width = = 3")).starts_with("r.toml:3 - not TOML: "))
      << refusal(with_line(3, "width = = 3"));
}

TEST_F(RecipeTest, UnknownKeysGetTheNearest) {
  EXPECT_EQ(refusal(with_line(3, "widht = 64")),
            "r.toml:3 - model.widht: unknown key; did you mean model.width?");
  EXPECT_EQ(refusal(with_line(3, "lr = 1.0")),
            "r.toml:3 - model.lr: unknown key; did you mean optimizer.lr?");
  EXPECT_EQ(refusal(with_line(16, "kangaroo = 1")),
            "r.toml:16 - layout.kangaroo: unknown key; [layout] has devices, mesh, stages, grid, offload, threads");
  EXPECT_EQ(refusal(with_line(15, "[layuot]")),
            "r.toml:16 - [layuot]: unknown section; did you mean [layout]?");
  EXPECT_EQ(refusal(with_line(9, "[kangaroo]")),
            "r.toml:9 - [kangaroo]: unknown section; a recipe has model, data, train, optimizer, layout, "
            "numerics, checkpoint, validation");
  EXPECT_EQ(refusal("steps = 3\n"), "r.toml:1 - steps: a key outside of a section; put it under [train]");
  EXPECT_EQ(refusal_of_set("train.step=3"),
            "--set train.step=3 - train.step: unknown key; did you mean train.steps?");
}

TEST_F(RecipeTest, WrongTypesAndRanges) {
  EXPECT_EQ(refusal(with_line(11, "steps = \"many\"")),
            "r.toml:11 - train.steps: got \"many\", want a whole number of at least 1");
  EXPECT_EQ(refusal(with_line(11, "steps = 1.5")),
            "r.toml:11 - train.steps: got 1.5, want a whole number of at least 1");
  EXPECT_EQ(refusal(with_line(11, "steps = 0")),
            "r.toml:11 - train.steps: got 0, want a whole number of at least 1");
  EXPECT_EQ(refusal(with_line(4, "heads = [4]")),
            "r.toml:4 - model.heads: got [4], want a whole number from 1 to 4096");
  EXPECT_EQ(refusal(with_line(2, "name = \"gtp\"")),
            "r.toml:2 - model.name: got \"gtp\", want \"gpt\", \"llama\", \"mlp\" or \"resnet\"");
  EXPECT_EQ(refusal(with_line(2, "name = 3")),
            "r.toml:2 - model.name: got 3, want \"gpt\", \"llama\", \"mlp\" or \"resnet\"");
  EXPECT_EQ(refusal_of_set("model.tied_head=1"),
            "--set model.tied_head=1 - model.tied_head: got 1, want true or false");
  EXPECT_EQ(refusal_of_set("model.dropout=1"),
            "--set model.dropout=1 - model.dropout: got 1, want a number from 0 to below 1");
  EXPECT_EQ(refusal_of_set("optimizer.lr=nan"),
            "--set optimizer.lr=nan - optimizer.lr: got nan, want a number of at least 0");
  EXPECT_EQ(refusal_of_set("optimizer.lr=fast"),
            "--set optimizer.lr=fast - optimizer.lr: got fast, want a number of at least 0");
  EXPECT_EQ(refusal_of_set("optimizer.betas=[0.9]"),
            "--set optimizer.betas=[0.9] - optimizer.betas: got [0.9], want two numbers from 0 to below 1, "
            "as in [0.9, 0.95]");
  EXPECT_EQ(
      refusal_of_set("optimizer.betas=[0.9, 1.0]"),
      "--set optimizer.betas=[0.9, 1.0] - optimizer.betas: got [0.9, 1.0], want two numbers from 0 to below "
      "1, as in [0.9, 0.95]");
  EXPECT_EQ(refusal_of_set("train.steps=1e3"),
            "--set train.steps=1e3 - train.steps: got 1000.0, want a whole number of at least 1; write 1000");
  EXPECT_EQ(refusal_of_set("steps=3"), "--set steps=3 - steps: want section.key, as in train.steps");
  EXPECT_EQ(refusal_of_set("train.steps"),
            "--set train.steps - want section.key=value, as in train.steps=100");
}

TEST_F(RecipeTest, MissingAndIdleKeys) {
  EXPECT_EQ(refusal(with_line(11, "")), "r.toml - train.steps: missing; want a whole number of at least 1");
  EXPECT_EQ(refusal(with_line(8, "source = \"store\"")), "r.toml - data.path: missing; want text in quotes");
  EXPECT_EQ(refusal_of_set("optimizer.momentum=0.9"),
            "--set optimizer.momentum=0.9 - optimizer.momentum: it has no meaning where optimizer.name is "
            "\"adamw\"; leave it out");
}

TEST_F(RecipeTest, ValuesThatDoNotGoTogether) {
  EXPECT_EQ(refusal(with_line(3, "width = 66")),
            "r.toml:3 - model.width: got 66, want a multiple of model.heads (4)");
  EXPECT_EQ(refusal(with_line(12, "global_batch = 6")),
            "r.toml:12 - train.global_batch: got 6, want a multiple of train.microbatches (4)");
  EXPECT_EQ(refusal(with_line(16, "devices = 5")),
            "r.toml:16 - layout.devices: got 5, want at most train.microbatches (4); a microbatch is never "
            "divided; what works on 5 devices: dp=4,owners=servers:1 or dp=3,owners=servers:2 or "
            "dp=2,owners=servers:3");
  EXPECT_EQ(
      refusal_of_set("optimizer.warmup_steps=101"),
      "--set optimizer.warmup_steps=101 - optimizer.warmup_steps: got 101, want at most train.steps (100)");
  EXPECT_EQ(refusal(kGpt, {"optimizer.name=sgd", "optimizer.nesterov=true"}),
            "--set optimizer.nesterov=true - optimizer.nesterov: got true, want an optimizer.momentum above "
            "0 with it");
  EXPECT_EQ(
      refusal("[model]\nname = \"mlp\"\n[data]\nsource = \"store\"\npath = \"x\"\n[train]\nsteps = 1\n"),
      "r.toml:4 - data.source: got \"store\", want \"samples\" or \"random\" where model.name is \"mlp\"; a token "
      "store holds text, which a gpt or a llama learns");
  EXPECT_EQ(refusal(kGpt, {"data.source=samples", "data.path=x"}),
            "--set data.source=samples - data.source: got \"samples\", want \"store\" or \"random\" where model.name is "
            "\"gpt\"; a sample store holds tensors, which an mlp or a resnet learns");
  EXPECT_EQ(refusal(kGpt, {"data.input=x"}),
            "--set data.input=x - data.input: it has no meaning where data.source is \"random\"; leave it out");
  EXPECT_EQ(refusal(kGpt, {"model.name=llama", "model.heads=64"}),
            "r.toml:3 - model.width: got 64, want a multiple of twice model.heads (64)");
  EXPECT_EQ(
      refusal(kGpt, {"model.name=llama", "model.kv_heads=3"}),
      "--set model.kv_heads=3 - model.kv_heads: got 3, want a divisor of model.heads (4), or 0 for as many");
  EXPECT_EQ(
      refusal_of_set("model.kv_heads=2"),
      "--set model.kv_heads=2 - model.kv_heads: it has no meaning where model.name is \"gpt\"; leave it out");
}

TEST_F(RecipeTest, DevicesAndMeshSayTheSame) {
  EXPECT_EQ(load(with_line(16, "mesh = \"dp=3\"")).layout.devices, 3);
  EXPECT_EQ(refusal(with_line(16, "devices = 2\nmesh = \"dp=3\"")),
            "r.toml:17 - layout.mesh: got dp=3, which is 3 devices, want 2; what works on 2 devices: dp=2 or "
            "dp=1,owners=servers:1");
  // The command line replaces what the file says.
  EXPECT_EQ(load(kGpt, {"layout.mesh=dp=4"}).layout.devices, 4);
  EXPECT_EQ(load(with_line(16, "mesh = \"dp=3\""), {"layout.devices=1"}).layout.devices, 1);
  const std::string served = with_line(16, "mesh = \"dp=3,owners=servers:1\"");
  EXPECT_EQ(load(served, {"layout.devices=4"}).layout.mesh, "dp=3,owners=servers:1");
  EXPECT_EQ(refusal(served, {"layout.devices=2"}),
            "--set layout.devices=2 - layout.devices: got 2, but layout.mesh (r.toml:16) is "
            "dp=3,owners=servers:1, which is 4; say with --layout how 2 divide the work, or --layout auto");
  EXPECT_EQ(load(served, {"layout.devices=2", "layout.mesh=auto"}).layout.devices, 2);
  EXPECT_EQ(
      refusal(kGpt, {"layout.mesh=dp=4", "layout.devices=3"}),
      "--set layout.mesh=dp=4 - layout.mesh: got dp=4, which is 4 devices, want 3; what works on 3 devices: "
      "dp=3 or dp=2,owners=servers:1 or dp=1,owners=servers:2");
  EXPECT_EQ(load(with_line(16, "devices = 3"), {"layout.mesh=auto"}).layout.devices, 3);
}

TEST_F(RecipeTest, TheMeshGoesToTheTrainer) {
  EXPECT_EQ(trainer_options(load(kGpt)).layout, std::nullopt);
  EXPECT_EQ(trainer_options(load(kGpt)).tensor_chunks, 1);
  const Recipe recipe = load(kGpt, {"layout.mesh=zero=2, tp=2,dp=2", "numerics.tensor_chunks=4"});
  EXPECT_EQ(recipe.layout.devices, 4);
  EXPECT_EQ(recipe.layout.mesh, "dp=2,tp=2,zero=2");
  EXPECT_EQ(trainer_options(recipe).layout, (Layout{.dp = 2, .tp = 2, .zero = 2}));
  EXPECT_EQ(trainer_options(recipe).tensor_chunks, 4);
  EXPECT_EQ(load(kGpt, {"layout.mesh=dp=2,owners=servers:1"}).layout.devices, 3);

  // The recipe of a run needs no plan file any more.
  const std::string plan = (folder_ / "plan.toml").string();
  write_text(plan, "[layout]\ndp = 2\nservers = 2\n");
  const Recipe planned = load(kGpt, {cat("layout.mesh=", plan)});
  EXPECT_EQ(planned.layout.mesh, "dp=2,owners=servers:2");
  EXPECT_EQ(load(recipe_text(planned)).layout.devices, 4);
}

TEST_F(RecipeTest, MeshesThatCannotBe) {
  EXPECT_EQ(refusal(with_line(16, "mesh = \"tq=2\"")),
            "r.toml:16 - layout.mesh: got tq=2, an unknown axis; did you mean tp?");
  EXPECT_EQ(
      refusal_of_set("layout.mesh=recompute=some"),
      "--set layout.mesh=recompute=some - layout.mesh: got recompute=some, want none, selective or all");
  EXPECT_EQ(
      refusal_of_set("layout.mesh=tp=2"),
      "--set layout.mesh=tp=2 - layout.mesh: tp=2 needs [numerics] tensor_chunks = 2 (another run: other "
      "bits); what works on 2 devices: dp=2 or dp=1,owners=servers:1");
  EXPECT_EQ(
      refusal_of_set("layout.mesh=tp=3"),
      "--set layout.mesh=tp=3 - layout.mesh: tp=3 needs [numerics] tensor_chunks = 3, which does not divide "
      "model.heads (4); what works on 3 devices: dp=3 or dp=2,owners=servers:1 or dp=1,owners=servers:2");
  EXPECT_EQ(
      refusal_of_set("layout.mesh=zero=3"),
      "--set layout.mesh=zero=3 - layout.mesh: got zero=3 with dp=1, nothing to divide: zero needs dp > 1; "
      "use dp=2 or leave it out; what works on 1 device: dp=1");
  EXPECT_EQ(
      refusal_of_set("layout.mesh=dp=4,owners=servers:1,zero=2"),
      "--set layout.mesh=dp=4,owners=servers:1,zero=2 - layout.mesh: got zero=2 with 1 server; servers own "
      "all weights and optimizer state, so leave zero out");
  EXPECT_EQ(refusal_of_set("layout.mesh=dp=300"),
            "--set layout.mesh=dp=300 - layout.mesh: got dp=300, want dp=N, N a whole number from 1 to 256");
  EXPECT_EQ(
      refusal_of_set("layout.mesh=dp=100,tp=4"),
      "--set layout.mesh=dp=100,tp=4 - layout.mesh: got dp=100,tp=4, which is 400 devices, want at most 256");
}

TEST_F(RecipeTest, TheDataMustSuitTheModel) {
  write_text(folder_ / "text.txt", std::string(500, 'x'));
  data::Pipeline pipeline;
  pipeline.inputs = {(folder_ / "text.txt").string()};
  pipeline.out = folder_ / "store";
  const auto communicator = comm::single();
  comm::Group alone(*communicator);
  data::build_store(alone, pipeline, [](const data::Progress&) {});
  const std::string path = "data.path=" + pipeline.out.string();
  const auto data_refusal = [&](const std::vector<std::string>& sets) {
    const Recipe recipe = load(kGpt, sets);
    return sentence_of<InputError>([&] { open_samples(recipe); });
  };
  EXPECT_EQ(data_refusal({"data.source=store", path, "model.vocabulary=256"}),
            cat("--set model.vocabulary=256 - model.vocabulary: got 256, want at least 257, the tokens of ",
                pipeline.out.string()));
  EXPECT_EQ(data_refusal({"data.source=store", path, "model.end_of_document=5"}),
            cat("--set model.end_of_document=5 - model.end_of_document: got 5, want 256, which ends the documents of ",
                pipeline.out.string()));
  EXPECT_EQ(data_refusal({"data.source=store", path, "model.end_of_document=257"}),
            "--set model.end_of_document=257 - model.end_of_document: got 257, want a token, below 257, or -1");
  EXPECT_EQ(data_refusal({"data.source=store", path, "model.context=501"}),
            cat(pipeline.out.string(),
                " - train split too short: got 501 tokens, want at least 502 (the context and one more); add "
                "text, or choose a smaller context"));
}

TEST_F(RecipeTest, ANoteHasTheModelAndNothingOfTheLayout) {
  const Recipe one = load(kGpt, {"layout.devices=1", "model.tied_head=true", "train.precision=bf16"});
  const Recipe two = load(kGpt, {"layout.devices=4", "model.tied_head=true", "train.precision=bf16",
                                 "checkpoint.every=5", "train.steps=9"});
  EXPECT_EQ(recipe_note(one), recipe_note(two));
  EXPECT_EQ(recipe_note(two)["model"]["width"], 64);
  EXPECT_EQ(recipe_note(two)["train"]["precision"], "bf16");
  // Part of a run's content hash: what a key that came later leaves as it was is not in it.
  EXPECT_FALSE(recipe_note(one)["model"].contains("end_of_document"));
  EXPECT_EQ(recipe_note(load(kGpt, {"model.end_of_document=256"}))["model"]["end_of_document"], 256);
}

TEST_F(RecipeTest, TheLearningRateRisesAndFalls) {
  const Recipe recipe = load(kGpt, {"optimizer.warmup_steps=4", "optimizer.final_factor=0.1"});
  const LearningRateSchedule schedule = trainer_options(recipe).schedule;
  EXPECT_DOUBLE_EQ(schedule.factor(0), 0.25);
  EXPECT_DOUBLE_EQ(schedule.factor(3), 1);
  EXPECT_DOUBLE_EQ(schedule.factor(4), 1);
  EXPECT_DOUBLE_EQ(schedule.factor(52), 0.55);  // half-way from 4 to 100
  EXPECT_DOUBLE_EQ(schedule.factor(100), 0.1);
  EXPECT_DOUBLE_EQ(trainer_options(load(kGpt, {"optimizer.final_factor=1"})).schedule.factor(77), 1);
}

class SamplesTest : public testing::TestWithParam<const char*> {};

TEST_P(SamplesTest, AreTheSameHoweverTheyAreDealtOut) {
  Recipe recipe;
  recipe.model.name = GetParam();
  recipe.model.image = 5;
  recipe.data.source = "random";
  const Samples samples = open_samples(recipe);
  const Batch whole = samples.training(10, 6), part = samples.training(13, 2);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(whole[i].narrow(0, 3, 2).equal(part[i]));
  EXPECT_FALSE(whole[0].equal(samples.validation(10, 6)[0]));
  const at::Tensor classes = samples.training(0, 1000)[1];
  for (int64_t c = 0; c < recipe.model.outputs; ++c) EXPECT_GT(classes.eq(c).sum().item<int64_t>(), 0) << c;
  recipe.train.seed = 2;
  EXPECT_FALSE(whole[0].equal(open_samples(recipe).training(10, 6)[0]));
}
INSTANTIATE_TEST_SUITE_P(MadeUp, SamplesTest, testing::Values("mlp", "resnet"));

}  // namespace
}  // namespace shoal::app
