#include "data/token_store.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/text.h"
#include "data/corpus.h"

namespace shoal::data {
namespace {

class TokenStoreTest : public testing::Test {
 protected:
  TokenStoreTest() {
    std::mt19937 random(7);
    corpus_ = random_corpus(random, 64);
    write_corpus(temp_ / "in", corpus_);
    const Pipeline pipeline{.inputs = {(temp_ / "in").string()},
                            .suffixes = {},
                            .exclude = {},
                            .validation_every = 3,
                            .shard_tokens = 64,
                            .out = folder_};
    build_on(1, pipeline);
  }
  std::string open_error() const {
    return error_of([&] { TokenStore(folder_).verify(); });
  }
  std::string path(const char* name) const { return (folder_ / name).string(); }

  TempFolder temp_;
  Corpus corpus_;
  fs::path folder_ = temp_ / "store";
};

TEST_F(TokenStoreTest, ReadsAnyRangeOverShards) {
  const TokenStore store(folder_);
  auto expected = expected_tokens(corpus_, 3);
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE(cat("seed ", seed));
  for (Split split : kSplits) {
    const auto& tokens = expected[split];
    ASSERT_EQ(store.num_tokens(split), static_cast<int64_t>(tokens.size()));
    ASSERT_GT(tokens.size(), 128u);
    for (int i = 0; i < 300; ++i) {
      const size_t begin = random() % tokens.size(), count = random() % (tokens.size() - begin + 1);
      std::vector<int64_t> got(count);
      store.tokens(split, static_cast<int64_t>(begin), got);
      EXPECT_TRUE(std::equal(got.begin(), got.end(), tokens.begin() + static_cast<ptrdiff_t>(begin)));
    }
  }
}

TEST_F(TokenStoreTest, EveryFlippedBitIsFound) {
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE(cat("seed ", seed));
  const std::string manifest_text = to_json(load_manifest(folder_));
  for (const auto& [name, bytes] : contents(folder_)) {
    for (int i = 0; i < (name == "manifest.json" ? 300 : 5); ++i) {
      std::string damaged = bytes;
      const size_t bit = random() % (8 * bytes.size());
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
      write_file(folder_ / name, damaged);
      if (open_error() == "nothing thrown") {
        // White space between the words of the manifest: the same manifest.
        EXPECT_EQ(to_json(load_manifest(folder_)), manifest_text) << name << " bit " << bit;
      }
    }
    write_file(folder_ / name, bytes);
  }
  EXPECT_EQ(open_error(), "nothing thrown");
}

TEST_F(TokenStoreTest, DamageIsFoundBeforeATokenOfTheShardIsRead) {
  std::string bytes = read_file(folder_ / "train-00001.tokens");
  bytes[100] ^= 1;
  const std::string good = hash_hex(read_file(folder_ / "train-00001.tokens"));
  write_file(folder_ / "train-00001.tokens", bytes);
  const TokenStore store(folder_);
  std::vector<int64_t> tokens(64);
  store.tokens(Split::kTrain, 0, tokens);
  EXPECT_EQ(error_of([&] { store.tokens(Split::kTrain, 1, tokens); }),
            cat("input: ", path("train-00001.tokens"), " - damaged: got checksum ", hash_hex(bytes),
                ", want ", good, "; run shoal data again to repair the store"));
}

TEST_F(TokenStoreTest, MissingOrCutOffFiles) {
  fs::resize_file(folder_ / "train-00000.tokens", 100);
  EXPECT_EQ(open_error(),
            cat("input: ", path("train-00000.tokens"),
                " - cut off or grown: got 100 bytes, want 128; run shoal data again to repair the store"));
  fs::remove(folder_ / "train-00000.tokens");
  EXPECT_EQ(open_error(),
            cat("input: ", path("train-00000.tokens"),
                " - cannot be read: No such file or directory; run shoal data again to repair the store"));
  fs::remove(folder_ / "manifest.json");
  const std::string missing =
      cat("input: ", folder_.string(),
          " - not a token store: got no manifest.json, want a folder that shoal data finished");
  EXPECT_EQ(open_error(), missing);
  fs::remove_all(folder_);
  EXPECT_EQ(open_error(), missing);
}

TEST_F(TokenStoreTest, ManifestsOfOthers) {
  const std::string place = "input: " + path("manifest.json"),
                    rebuild = "; delete the folder and build it again with shoal data";
  const std::string text = read_file(folder_ / "manifest.json");
  const auto error_with = [&](const std::string& from, const std::string& to) {
    std::string edited = text;
    const size_t at = edited.find(from);
    EXPECT_NE(at, std::string::npos);
    write_file(folder_ / "manifest.json", edited.replace(at, from.size(), to));
    return open_error();
  };
  EXPECT_EQ(error_with("\"version\": 1", "\"version\": 3"), cat(place, " - version: got 3, want 1 to 2", rebuild));
  EXPECT_EQ(
      error_with("shoal token store", "shell token store"),
      cat(place, " - not of a token store: got format \"shell token store\", want \"shoal token store\""));
  const std::string edited = error_with("\"shard_tokens\": 64", "\"shard_tokens\": 32");
  EXPECT_TRUE(edited.starts_with(cat(place, " - damaged or edited: got checksum "))) << edited;
  EXPECT_TRUE(edited.ends_with(rebuild)) << edited;
  for (const std::string& broken : {std::string("{"), std::string("[]"), std::string("null"), std::string(),
                                    text.substr(0, text.size() / 2)}) {
    write_file(folder_ / "manifest.json", broken);
    EXPECT_TRUE(open_error().starts_with(cat(place, " - not the manifest of a token store: ")))
        << open_error();
  }
  Manifest manifest;
  manifest.shard_tokens = 64;
  manifest[Split::kTrain] = {1, 64, 0.5, {{"../../etc/passwd", 64, "x"}}};
  write_file(folder_ / "manifest.json", to_json(manifest));
  EXPECT_EQ(open_error(), cat(place, " - contradicts itself, so shoal data did not write it", rebuild));
}

TEST(StoreFiles, AreKnownByName) {
  for (const char* name : {"manifest.json", "manifest.json.part", "train-00000.tokens",
                           "train-00000.tokens.part", "train-00000.sum", "validation-123456.sum.part"}) {
    EXPECT_TRUE(is_store_file(name)) << name;
  }
  for (const char* name :
       {"", ".part", "manifest", "train-0000.tokens", "train-00000", "test-00000.tokens",
        "train-00000a.tokens", "train-00000.tokens.bak", "train-.tokens", "notes.txt", "00000.tokens"}) {
    EXPECT_FALSE(is_store_file(name)) << name;
  }
}

}  // namespace
}  // namespace shoal::data
