#include "data/build_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/hash.h"
#include "base/text.h"
#include "data/corpus.h"
#include "data/files.h"

namespace shoal::data {
namespace {

/// The entropy, from frequencies in another order and precision.
double plain_entropy(const std::vector<uint16_t>& tokens) {
  std::map<uint16_t, long double> frequency;
  for (uint16_t token : tokens) frequency[token] += 1.0L / static_cast<long double>(tokens.size());
  long double entropy = 0;
  for (const auto& [token, p] : frequency) entropy -= p * std::log(p);
  return static_cast<double>(entropy);
}

void expect_store_of(const Corpus& corpus, const Pipeline& pipeline) {
  const Manifest manifest = load_manifest(pipeline.out);
  auto expected = expected_tokens(corpus, pipeline.validation_every);
  size_t num_files = 1;
  for (Split split : kSplits) {
    const std::vector<uint16_t>& tokens = expected[split];
    EXPECT_EQ(manifest[split].documents, std::count(tokens.begin(), tokens.end(), 256));
    ASSERT_EQ(manifest[split].tokens, static_cast<int64_t>(tokens.size()));
    EXPECT_NEAR(manifest[split].unigram_entropy, plain_entropy(tokens), 1e-12);
    std::string bytes;
    for (const Manifest::Shard& shard : manifest[split].shards) {
      const std::string part = read_file(pipeline.out / shard.file);
      EXPECT_EQ(shard.checksum, hash_hex(part));
      if (&shard != &manifest[split].shards.back()) {
        EXPECT_EQ(part.size(), static_cast<size_t>(2 * pipeline.shard_tokens));
      }
      EXPECT_LE(part.size(), static_cast<size_t>(2 * pipeline.shard_tokens));
      EXPECT_GT(part.size(), 0u);
      bytes += part;
      ++num_files;
    }
    ASSERT_EQ(bytes.size(), 2 * tokens.size());
    EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), reinterpret_cast<const uint16_t*>(bytes.data())));
  }
  EXPECT_EQ(contents(pipeline.out).size(), num_files) << "nothing else is left in the folder";
}

TEST(BuildStore, IsTheSameForEveryNumberOfDevices) {
  for (uint32_t seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    std::mt19937 random(seed);
    TempFolder temp;
    Pipeline pipeline{.inputs = {(temp / "in").string()},
                      .suffixes = {},
                      .exclude = {},
                      .validation_every = seed % 4 == 3 ? 0 : 2 + seed % 5,
                      .shard_tokens = seed % 3 == 0 ? 32 : 128,
                      .out = temp / "one"};
    const Corpus corpus = random_corpus(random, pipeline.shard_tokens);
    write_corpus(temp / "in", corpus);
    build_on(1, pipeline);
    expect_store_of(corpus, pipeline);
    for (int devices : {2, 3, 5}) {
      pipeline.out = temp / cat("store", devices);
      build_on(devices, pipeline);
      EXPECT_EQ(contents(pipeline.out), contents(temp / "one")) << devices << " devices";
    }
  }
}

TEST(BuildStore, CutsDocumentsAtShardBorders) {
  TempFolder temp;
  const Pipeline pipeline{.inputs = {(temp / "in").string()},
                          .suffixes = {},
                          .exclude = {},
                          .validation_every = 3,
                          .shard_tokens = 16,
                          .out = temp / "out"};
  Corpus corpus = {{"0", std::string(15, 'x')},   // with its end exactly a shard
                   {"1", std::string(16, 'y')},   // its end alone begins the next shard
                   {"2", std::string(100, 'v')},  // validation: over seven shards
                   {"3", "z"},
                   {"4", std::string(13, 'w')}};  // exactly to the border again
  write_corpus(temp / "in", corpus);
  const BuildReport report = build_on(2, pipeline);
  expect_store_of(corpus, pipeline);
  EXPECT_EQ(report.manifest[Split::kTrain].tokens, 16 + 17 + 2 + 14);
  EXPECT_EQ(report.manifest[Split::kTrain].shards.size(), 4u);
  EXPECT_EQ(report.manifest[Split::kTrain].shards.back().tokens, 1);
  EXPECT_EQ(report.manifest[Split::kValidation].shards.size(), 7u);
}

TEST(BuildStore, DoesNotDependOnTheFileSystemsOrderOrPlace) {
  std::mt19937 random(5);
  TempFolder temp;
  const Corpus corpus = random_corpus(random, 64);
  write_corpus(temp / "one", corpus);
  for (auto file = corpus.rbegin(); file != corpus.rend(); ++file)
    write_file(temp / "elsewhere/two" / file->first, file->second);
  Pipeline pipeline{.inputs = {(temp / "one").string()},
                    .suffixes = {},
                    .exclude = {},
                    .shard_tokens = 64,
                    .out = temp / "a"};
  build_on(1, pipeline);
  pipeline.inputs = {(temp / "elsewhere/two/").string()};
  pipeline.out = temp / "b";
  build_on(1, pipeline);
  EXPECT_EQ(contents(temp / "a"), contents(temp / "b"));
}

TEST(BuildStore, TakesTheFilesThatAreAskedFor) {
  TempFolder temp;
  write_corpus(temp / "in", {{"a.h", "header"},
                             {"a.py", "python"},
                             {"a.pyc", "code"},
                             {"deep/er/b.py", "deeper"},
                             {"tests/c.py", "excluded by folder"},
                             {"deep/skip.py", "excluded by name"},
                             {"empty.py", ""},
                             {"binary.py", std::string("a\0b", 3)},
                             {"large.py", std::string(101, 'x')}});
  write_file(temp / "alone.txt", "named by itself");
  fs::create_symlink(temp / "in/a.py", temp / "in/link.py");
  fs::create_directory_symlink(temp / "in", temp / "in/deep/loop");
  Pipeline pipeline{.inputs = {(temp / "in").string(), (temp / "alone.txt").string()},
                    .suffixes = {".py", ".h"},
                    .exclude = {"tests", "skip.py"},
                    .max_file_bytes = 100,
                    .validation_every = 0,
                    .shard_tokens = 1024,
                    .out = temp / "in/store.py"};  // inside its own input, and not read from there
  for (int round = 0; round < 2; ++round) {
    const BuildReport report = build_on(2, pipeline);
    EXPECT_EQ(report.manifest[Split::kTrain].documents, 4);
    EXPECT_EQ(report.skipped.empty, 1);
    EXPECT_EQ(report.skipped.not_text, 1);
    EXPECT_EQ(report.skipped.too_large, 1);
    EXPECT_EQ(report.skipped.over_limit, 0);
    EXPECT_EQ(report.shards_written, round == 0 ? 1 : 0);
    expect_store_of({{"0", "header"}, {"1", "python"}, {"2", "deeper"}, {"3", "named by itself"}}, pipeline);
  }
  pipeline.out = temp / "limited";
  pipeline.max_bytes =
      6 + 6 + 3 +
      5;  // header, python, the binary file; then deeper does not fit, so nothing after it is taken
  EXPECT_EQ(build_on(2, pipeline).skipped.over_limit, 2);
  expect_store_of({{"0", "header"}, {"1", "python"}}, pipeline);
}

TEST(BuildStore, KeepsWhatIsFinishedAndRepairsWhatIsDamaged) {
  TempFolder temp;
  write_corpus(temp / "in", {{"a", std::string(1000, 'a')}, {"b", std::string(500, 'b')}});
  const Pipeline pipeline{.inputs = {(temp / "in").string()},
                          .suffixes = {},
                          .exclude = {},
                          .validation_every = 2,
                          .shard_tokens = 64,
                          .out = temp / "out"};
  BuildReport report = build_on(3, pipeline);
  const auto whole = contents(pipeline.out);
  EXPECT_EQ(report.shards_written, 16 + 8);
  EXPECT_EQ(report.shards_kept, 0);

  report = build_on(2, pipeline);
  EXPECT_EQ(report.shards_written, 0);
  EXPECT_EQ(report.shards_kept, 24);

  std::string flipped = whole.at("train-00003.tokens");
  flipped[5] ^= 4;
  write_file(pipeline.out / "train-00003.tokens", flipped);
  fs::resize_file(pipeline.out / "validation-00001.tokens", 10);
  fs::remove(pipeline.out / "train-00000.tokens");
  report = build_on(3, pipeline);
  EXPECT_EQ(report.shards_written, 3);
  EXPECT_EQ(report.shards_kept, 21);
  EXPECT_EQ(contents(pipeline.out), whole);
}

TEST(BuildStore, RedoesUnfinishedWorkOnOtherInput) {
  TempFolder temp;
  write_corpus(temp / "in", {{"a", std::string(1000, 'a')}});
  Pipeline pipeline{.inputs = {(temp / "in").string()},
                    .suffixes = {},
                    .exclude = {},
                    .validation_every = 0,
                    .shard_tokens = 64,
                    .out = temp / "out"};
  // The second shard cannot be put in place, so the first is all that gets finished.
  fs::create_directories(pipeline.out / "train-00001.tokens");
  EXPECT_NE(error_of([&] { build_on(1, pipeline); }).find("holds something else"), std::string::npos);
  fs::remove(pipeline.out / "train-00001.tokens");
  int64_t shards_done = 0;
  EXPECT_ANY_THROW(build_on(1, pipeline, [&](const Progress& p) {
    if (p.phase == Progress::Phase::kWriting && ++shards_done == 5) throw std::runtime_error("stopped here");
  }));
  const auto half = contents(pipeline.out);
  EXPECT_EQ(half.count("train-00004.sum"), 1u);
  EXPECT_EQ(half.count("manifest.json"), 0u);

  write_file(temp / "in/a", std::string(600, 'c'));
  const BuildReport report = build_on(2, pipeline);
  EXPECT_EQ(report.shards_kept, 0);
  expect_store_of({{"a", std::string(600, 'c')}}, pipeline);
}

TEST(BuildStore, ReportsProgressToTheLastByte) {
  TempFolder temp;
  write_corpus(temp / "in", {{"a", std::string(1000, 'a')}, {"b", std::string(500, 'b')}});
  const Pipeline pipeline{.inputs = {(temp / "in").string()},
                          .suffixes = {},
                          .exclude = {},
                          .shard_tokens = 64,
                          .out = temp / "out"};
  using Phase = Progress::Phase;
  const auto last_of_each = [&] {
    std::map<Phase, int64_t> last;
    build_on(3, pipeline, [&](const Progress& p) {
      EXPECT_GT(p.bytes_done, last[p.phase]);
      EXPECT_LE(p.bytes_done, p.bytes_total);
      last[p.phase] = p.bytes_done;
    });
    return last;
  };
  EXPECT_EQ(last_of_each(), (std::map<Phase, int64_t>{{Phase::kReading, 1500}, {Phase::kWriting, 1502}}));
  EXPECT_EQ(last_of_each(), (std::map<Phase, int64_t>{{Phase::kReading, 1500}, {Phase::kChecking, 1502}}));
}

class BuildStoreErrors : public testing::Test {
 protected:
  BuildStoreErrors() { write_corpus(temp_ / "in", {{"a", "some text"}, {"b", "more text"}}); }
  std::string error(int devices = 2) {
    return error_of([&] { build_on(devices, pipeline_); });
  }
  std::string path(const char* name) const { return (temp_ / name).string(); }

  TempFolder temp_;
  Pipeline pipeline_{.inputs = {(temp_ / "in").string()},
                     .suffixes = {},
                     .exclude = {},
                     .shard_tokens = 64,
                     .out = temp_ / "out"};
};

TEST_F(BuildStoreErrors, Input) {
  pipeline_.inputs = {};
  EXPECT_EQ(error(),
            "input: inputs - got no folder or file, want at least one; write inputs = [\"FOLDER\"] or give "
            "--input FOLDER");
  pipeline_.inputs = {path("nowhere")};
  EXPECT_EQ(error(),
            cat("input: ", path("nowhere"),
                " - cannot be read: No such file or directory; correct inputs, or name it in exclude"));
  pipeline_.inputs = {path("in")};
  pipeline_.suffixes = {".h", ".py"};
  EXPECT_EQ(error(), cat("input: ", path("in"),
                         " - no text found: got 0 empty, 0 binary, 0 too large and 0 more files than "
                         "max_bytes allows, want at least one file of "
                         "text whose name ends in .h or .py; correct inputs or suffixes"));
  EXPECT_FALSE(fs::exists(pipeline_.out)) << "nothing was done";
}

TEST_F(BuildStoreErrors, OutputFolder) {
  pipeline_.out = "";
  EXPECT_EQ(error(),
            "input: out - got no folder, want where to write the store; write out = \"FOLDER\" or give --out "
            "FOLDER");
  pipeline_.out = temp_ / "in/a";
  EXPECT_EQ(error(), cat("input: ", path("in/a"),
                         " - not a folder: want a new one, or a token store; name another --out"));
  pipeline_.out = temp_ / "in/a/b";
  EXPECT_EQ(error(),
            cat("input: ", path("in/a/b"), " - cannot be made: Not a directory; name another --out"));
  pipeline_.out = temp_ / "in";
  EXPECT_EQ(error(), cat("input: ", path("in"),
                         " - holds something else than a token store: got a, want a new or empty folder; "
                         "name another --out"));
  write_file(temp_ / "foreign/manifest.json", "{\"name\": \"a web page\"}");
  pipeline_.out = temp_ / "foreign";
  EXPECT_EQ(error(), cat("input: ", path("foreign/manifest.json"),
                         " - not of a token store: got format \"\", want \"shoal token store\""));
}

TEST_F(BuildStoreErrors, StoreOfOtherInput) {
  const std::string before = build_on(1, pipeline_).manifest.input;
  const auto store = contents(pipeline_.out);
  pipeline_.shard_tokens = 128;
  const std::string after = [&] {
    Pipeline other = pipeline_;
    other.out = temp_ / "other";
    return build_on(1, other).manifest.input;
  }();
  EXPECT_EQ(error(), cat("input: ", path("out"), " - holds a store of other input or settings: got ", before,
                         ", want ", after, "; delete it, or name another --out"));
  EXPECT_EQ(contents(pipeline_.out), store);
}

TEST_F(BuildStoreErrors, TwoBuildsAtOnce) {
  fs::create_directories(pipeline_.out);
  FolderLock other(pipeline_.out);
  other.share();
  EXPECT_EQ(error(), cat("input: ", path("out"),
                         " - another shoal data writes here; wait for its end, or name another --out"));
}

TEST_F(BuildStoreErrors, InputThatChangesOnTheWay) {
  const auto change_after_reading = [&](const std::function<void()>& change) {
    return error_of([&] {
      build_on(2, pipeline_, [&](const Progress& p) {
        if (p.phase == Progress::Phase::kReading && p.bytes_done == p.bytes_total) change();
      });
    });
  };
  EXPECT_EQ(change_after_reading([&] { write_file(temp_ / "in/a", "shorter"); }),
            cat("job: ", path("in/a"),
                " - changed while it was read: got 7 bytes, want the 9 that it had; run the same command "
                "again once it rests"));
  EXPECT_EQ(
      change_after_reading([&] {
        fs::last_write_time(temp_ / "in/a", fs::file_time_type::clock::now() + std::chrono::seconds(5));
      }),
      cat("job: ", path("in/a"),
          " - changed while it was read: it was written again; run the same command again once it rests"));
  EXPECT_EQ(change_after_reading([&] { fs::remove(temp_ / "in/b"); }),
            cat("input: ", path("in/b"),
                " - cannot be read: No such file or directory; make it readable, or name it in exclude"));
}

TEST_F(BuildStoreErrors, InputThatChangesAfterItWasListed) {
  write_file(temp_ / "in/a",
             std::string(5'000'000, 'a'));  // a round of reading by itself, so that b is read after it
  EXPECT_EQ(
      error_of([&] { build_on(1, pipeline_, [&](const Progress&) { write_file(temp_ / "in/b", ""); }); }),
      cat("job: ", path("in/b"),
          " - changed while it was read: got 0 bytes, want the 9 that it had; run the same command again "
          "once it rests"));
}

}  // namespace
}  // namespace shoal::data
