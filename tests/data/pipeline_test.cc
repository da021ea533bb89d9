#include "data/pipeline.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "data/corpus.h"

namespace shoal::data {
namespace {

class PipelineTest : public testing::Test {
 protected:
  Pipeline load(const std::string& text) {
    write_file(file_, text);
    return load_pipeline(file_);
  }
  /// The sentence, without the folder of the file.
  std::string error(const std::string& text) {
    std::string message = error_of([&] { load(text); });
    const std::string folder = file_.parent_path().string() + "/";
    if (const size_t at = message.find(folder); at != std::string::npos) message.erase(at, folder.size());
    return message;
  }

  TempFolder temp_;
  fs::path file_ = temp_ / "p.toml";
};

TEST_F(PipelineTest, ReadsEveryKey) {
  const Pipeline p = load(R"(
inputs = ["a", "b"]
suffixes = [".h"]
exclude = ["ops"]
max_file_bytes = 10
max_bytes = 20
validation_every = 3
shard_tokens = 2048
out = "data/x"
)");
  EXPECT_EQ(p.inputs, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(p.suffixes, std::vector<std::string>{".h"});
  EXPECT_EQ(p.exclude, std::vector<std::string>{"ops"});
  EXPECT_EQ(p.max_file_bytes, 10);
  EXPECT_EQ(p.max_bytes, 20);
  EXPECT_EQ(p.validation_every, 3);
  EXPECT_EQ(p.shard_tokens, 2048);
  EXPECT_EQ(p.out, "data/x");
}

TEST_F(PipelineTest, EveryKeyHasADefault) {
  const Pipeline p = load("");
  EXPECT_TRUE(p.inputs.empty());
  EXPECT_EQ(p.validation_every, 20);
  EXPECT_EQ(p.shard_tokens, 4'194'304);
}

TEST_F(PipelineTest, TellsWhatIsWrongAndWhere) {
  EXPECT_EQ(error("\nsufixes = []"), "input: p.toml:2 - unknown key: got sufixes, want suffixes");
  EXPECT_EQ(error("colour = 1"),
            "input: p.toml:1 - unknown key: got colour, want one of exclude, inputs, max_bytes, "
            "max_file_bytes, out, shard_tokens, suffixes, validation_every");
  EXPECT_EQ(error("inputs = \"a\""),
            "input: p.toml:1 - inputs: got a string, want a list of strings, as in [\"a\", \"b\"]");
  EXPECT_EQ(error("inputs = [\"a\", 1]"),
            "input: p.toml:1 - inputs: got a list with a whole number in it, want a list of strings, as in "
            "[\"a\", \"b\"]");
  EXPECT_EQ(error("exclude = [\"\"]"), "input: p.toml:1 - exclude: got an empty string, want a name");
  EXPECT_EQ(error("out = true"), "input: p.toml:1 - out: got true or false, want a string in quotes");
  EXPECT_EQ(error("[out]"), "input: p.toml:1 - out: got a table, want a string in quotes");
  EXPECT_EQ(error("max_bytes = -1"),
            "input: p.toml:1 - max_bytes: got -1, want a whole number, 0 for no limit");
  EXPECT_EQ(error("max_file_bytes = 0"),
            "input: p.toml:1 - max_file_bytes: got 0, want a whole number, at least 1");
  EXPECT_EQ(error("validation_every = 1"),
            "input: p.toml:1 - validation_every: got 1, want a whole number, at least 2, or 0 for no "
            "validation split");
  EXPECT_EQ(error("validation_every = 0.5"),
            "input: p.toml:1 - validation_every: got a number with a fraction, want a whole number, at least "
            "2, or 0 for no validation split");
  EXPECT_EQ(error("shard_tokens = 3000"),
            "input: p.toml:1 - shard_tokens: got 3000, want a power of two from 1024 to 67108864");
  EXPECT_EQ(error("shard_tokens = 512"),
            "input: p.toml:1 - shard_tokens: got 512, want a power of two from 1024 to 67108864");
  EXPECT_TRUE(error("out = \"a\"\nout = ").starts_with("input: p.toml:2 - not TOML: "))
      << error("out = \"a\"\nout = ");
}

TEST_F(PipelineTest, TellsWhatIsMissing) {
  EXPECT_EQ(error_of([&] { load_pipeline("nowhere.toml"); }),
            "input: nowhere.toml - no such file: want a pipeline file (TOML)");
  EXPECT_EQ(error_of([&] { load_pipeline(temp_ / ""); }),
            cat("input: ", (temp_ / "").string(),
                " - no regular file, which each device could read: want a pipeline file (TOML)"));
}

}  // namespace
}  // namespace shoal::data
