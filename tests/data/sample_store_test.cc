// A sample store holds what was put into it, and whatever happens to its files is found.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/hash.h"
#include "base/text.h"
#include "data/corpus.h"
#include "data/prefetch.h"
#include "data/sample_batch.h"
#include "data/sample_order.h"
#include "data/sample_shards.h"
#include "data/sample_writer.h"

namespace shoal::data {
namespace {

const std::vector<SampleField> kFields = {{"image", SampleType::kU8, {3, 2, 5}, 0},
                                          {"words", SampleType::kI32, {-1, 2}, 0},
                                          {"label", SampleType::kI64, {}, 0}};

/// What a writer is given, kept in the plainest way.
struct Given {
  std::string key;
  std::vector<uint8_t> image = std::vector<uint8_t>(30);
  std::vector<int32_t> words;
  int64_t label = 0;

  std::vector<FieldValue> values() const {
    return {{0, std::as_bytes(std::span(image))},
            {static_cast<int64_t>(words.size()) / 2, std::as_bytes(std::span(words))},
            {0, std::as_bytes(std::span(&label, 1))}};
  }
};

std::vector<Given> random_samples(std::mt19937& random, size_t count) {
  std::vector<Given> all(count);
  for (size_t i = 0; i < count; ++i) {
    all[i].key = cat("sample ", i, std::string(random() % 9, 'x'));
    for (uint8_t& pixel : all[i].image) pixel = static_cast<uint8_t>(random());
    all[i].words.resize(2 * (random() % 7));
    for (int32_t& word : all[i].words) word = static_cast<int32_t>(random());
    all[i].label = static_cast<int64_t>(random());
  }
  return all;
}

SampleManifest write_store(const fs::path& folder, const std::vector<Given>& samples,
                           int64_t shard_bytes = 512) {
  SampleWriter writer(folder, kFields, 4, shard_bytes);
  for (const Given& sample : samples) writer.add(sample.key, sample.values());
  return writer.finish();
}

void expect_same(const SampleView& got, const Given& want) {
  EXPECT_EQ(got.key, want.key);
  const auto values = want.values();
  for (size_t f = 0; f < values.size(); ++f) {
    EXPECT_EQ(got.values[f].length, values[f].length);
    EXPECT_TRUE(std::ranges::equal(got.values[f].bytes, values[f].bytes)) << want.key << " field " << f;
  }
}

class SampleStoreTest : public testing::Test {
 protected:
  SampleStoreTest() {
    std::mt19937 random(11);
    samples_ = random_samples(random, 40);
    write_store(folder_, samples_);
  }
  /// Opens, compares checksums, and reads every sample.
  std::string error_now() const {
    return error_of([&] {
      const SampleShards store(folder_);
      for (Split split : kSplits)
        for (int64_t i = 0; i < store.num_samples(split); ++i) store.sample(split, i);
      store.verify();
    });
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  TempFolder temp_;
  fs::path folder_ = temp_ / "store";
  std::vector<Given> samples_;
};

TEST_F(SampleStoreTest, HoldsWhatItWasGiven) {
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE(cat("seed ", seed));
  for (int round = 0; round < 20; ++round) {
    const auto samples = random_samples(random, 1 + random() % 60);
    const fs::path folder = temp_ / cat("round", round);
    write_store(folder, samples, 1 + static_cast<int64_t>(random() % 2000));
    const SampleShards store(folder);
    std::array<int64_t, 2> next = {};
    int64_t longest = 0;
    for (const Given& sample : samples) {
      const Split split = split_of(sample.key, 4);
      expect_same(store.sample(split, next[static_cast<size_t>(split)]++), sample);
      longest = std::max(longest, static_cast<int64_t>(sample.words.size()) / 2);
    }
    EXPECT_EQ(store.num_samples(Split::kTrain), next[0]);
    EXPECT_EQ(store.num_samples(Split::kValidation), next[1]);
    EXPECT_EQ(store.manifest().fields[1].longest, longest);
    store.verify();
    EXPECT_EQ(to_json(load_sample_manifest(folder)), to_json(store.manifest()));
  }
}

TEST_F(SampleStoreTest, SameSamplesSameBytes) {
  write_store(temp_ / "again", samples_);
  EXPECT_EQ(contents(folder_), contents(temp_ / "again"));
  EXPECT_GT(contents(folder_).size(), 5u);
}

TEST_F(SampleStoreTest, ShardsAreWhatThePageSays) {
  const SampleManifest manifest = load_sample_manifest(folder_);
  const SampleManifest::Shard& shard = manifest[Split::kTrain].shards[0];
  const std::string bytes = read_file(folder_ / shard.file);
  const auto number = [&](size_t at) {
    int64_t value;
    std::memcpy(&value, bytes.data() + at, 8);
    return value;
  };
  const size_t index = bytes.size() - 8 * static_cast<size_t>(shard.samples + 1);
  EXPECT_EQ(number(index), 0);
  EXPECT_EQ(number(bytes.size() - 8), static_cast<int64_t>(index));
  const Given& first =
      *std::ranges::find_if(samples_, [](const Given& s) { return split_of(s.key, 4) == Split::kTrain; });
  ASSERT_EQ(number(0), static_cast<int64_t>(first.key.size()));
  EXPECT_EQ(bytes.substr(8, first.key.size()), first.key);
  const size_t image = 8 + (first.key.size() + 7) / 8 * 8, words = image + 32,
               label = words + 8 + 4 * first.words.size();
  EXPECT_EQ(std::memcmp(bytes.data() + image, first.image.data(), 30), 0);
  EXPECT_EQ(number(words), static_cast<int64_t>(first.words.size()) / 2);
  EXPECT_EQ(number(label), first.label);
  EXPECT_EQ(number(index + 8), static_cast<int64_t>(label) + 8);
}

TEST_F(SampleStoreTest, EveryLengthIsFound) {
  for (const auto& [name, bytes] : contents(folder_)) {
    const size_t step = std::max<size_t>(1, bytes.size() / 40);
    for (size_t length = 0; length < bytes.size(); length += step) {
      write_file(folder_ / name, bytes.substr(0, length));
      const std::string error = error_now();
      EXPECT_TRUE(error.starts_with("input: " + path(name) + " - ")) << length << ": " << error;
    }
    write_file(folder_ / name, bytes + "x");
    EXPECT_TRUE(error_now().starts_with("input: " + path(name) + " - ")) << error_now();
    write_file(folder_ / name, bytes);
  }
  EXPECT_EQ(error_now(), "nothing thrown");
}

TEST_F(SampleStoreTest, EveryFlippedBitIsFound) {
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE(cat("seed ", seed));
  const std::string manifest_text = to_json(load_sample_manifest(folder_));
  for (const auto& [name, bytes] : contents(folder_)) {
    for (int i = 0; i < (name == "manifest.json" ? 300 : 30); ++i) {
      std::string damaged = bytes;
      const size_t bit = random() % (8 * bytes.size());
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
      write_file(folder_ / name, damaged);
      const std::string error = error_now();
      if (error == "nothing thrown")  // white space between the words of the manifest: the same manifest
        EXPECT_EQ(to_json(load_sample_manifest(folder_)), manifest_text) << name << " bit " << bit;
      else
        EXPECT_NE(error.find(name), std::string::npos) << error;
    }
    write_file(folder_ / name, bytes);
  }
  EXPECT_EQ(error_now(), "nothing thrown");
}

TEST_F(SampleStoreTest, RecordsThatContradictTheSchemaAreNoStoreOfOurs) {
  SampleManifest manifest = load_sample_manifest(folder_);
  SampleManifest other = manifest;
  other.fields[0].shape = {3, 4, 5};
  write_file(folder_ / "manifest.json", to_json(other));
  EXPECT_EQ(
      error_now(),
      cat("input: ", path("train-00000.samples"),
          " - record 0 does not fit the schema, so Shoal did not write it; write the store again"));
  for (const auto& damage : std::vector<std::function<void(SampleManifest&)>>{
           [](SampleManifest& m) { m[Split::kTrain].shards[0].file = "../passwd"; },
           [](SampleManifest& m) { m[Split::kTrain].samples += 1; },
           [](SampleManifest& m) { m[Split::kTrain].shards[0].samples = int64_t{1} << 62; },
           [](SampleManifest& m) { m.fields[0].shape = {0}; }, [](SampleManifest& m) { m.fields.clear(); },
           [](SampleManifest& m) {
             m.fields[0].shape = {int64_t{1} << 40, int64_t{1} << 40};
           }}) {
    other = manifest;
    damage(other);
    write_file(folder_ / "manifest.json", to_json(other));
    EXPECT_EQ(
        error_now(),
        cat("input: ", path("manifest.json"),
            " - contradicts itself, so Shoal did not write it; delete the folder and write it again"));
  }
}

/// Bytes changed with their checksums: nothing is read beside the shard, whatever its lengths say.
TEST_F(SampleStoreTest, RecordsOfOthersAreReadSafely) {
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  SCOPED_TRACE(cat("seed ", seed));
  const SampleManifest good = load_sample_manifest(folder_);
  const std::string name = good[Split::kTrain].shards[0].file, bytes = read_file(folder_ / name);
  int64_t num_refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string damaged = bytes;
    const int64_t odd[] = {
        -1, 0, 1, 8, int64_t{1} << 40, INT64_MAX, INT64_MIN, static_cast<int64_t>(bytes.size())};
    for (size_t n = 1 + random() % 3; n > 0; --n)
      std::memcpy(damaged.data() + 8 * (random() % (bytes.size() / 8)), &odd[random() % 8], 8);
    SampleManifest manifest = good;
    manifest[Split::kTrain].shards[0].checksum = hash_hex(damaged);
    write_file(folder_ / name, damaged);
    write_file(folder_ / "manifest.json", to_json(manifest));
    const std::string error = error_now();
    if (error == "nothing thrown") continue;  // numbers of tensors
    EXPECT_TRUE(error.starts_with("input: " + path(name) + " - rec")) << error;
    ++num_refused;
  }
  EXPECT_GT(num_refused, 100);
}

TEST_F(SampleStoreTest, WhatDoesNotFitIsRefused) {
  const std::string place = (temp_ / "new").string();
  const auto refusal = [&](const std::function<void(SampleWriter&)>& act) {
    return error_of([&] {
      SampleWriter writer(place, kFields, 4, 512);
      act(writer);
    });
  };
  const Given good{.key = "a"};
  EXPECT_EQ(refusal([&](SampleWriter& w) { w.add("", good.values()); }),
            cat("input: ", place, " - key of a sample: got 0 bytes, want 1 to 4096"));
  EXPECT_EQ(refusal([&](SampleWriter& w) {
              w.add("a", good.values());
              w.add("a", good.values());
            }),
            cat("input: ", place, " - sample a: got a second one of this key, want one"));
  EXPECT_EQ(refusal([&](SampleWriter& w) {
              Given bad{.key = "a"};
              bad.image.pop_back();
              w.add("a", bad.values());
            }),
            cat("input: ", place, " - sample a, field image: got 29 bytes of length 1, want U8 [3, 2, 5]"));
  EXPECT_FALSE(fs::exists(place + ".part"));
  EXPECT_EQ(error_of([&] { SampleWriter(folder_, kFields, 4, 512); }),
            cat("input: ", folder_.string(), " - is there already; delete it, or name another folder"));
  EXPECT_EQ(error_of([&] { SampleWriter(place, {}, 4, 512); }),
            cat("input: ", place, " - fields: got none, want at least one"));
  EXPECT_EQ(error_of([&] {
              SampleWriter(place, {kFields[0], kFields[0]}, 4, 512);
            }),
            cat("input: ", place, " - field image: got two of this name, want one"));
  EXPECT_EQ(error_of([&] {
              SampleWriter(place, {{"x", SampleType::kF32, {2, -1}, 0}}, 4, 512);
            }),
            cat("input: ", place,
                " - field x: got F32 [2, -1], want dims of at least 1, or -1 for a first dim that varies"));
  EXPECT_EQ(
      error_of([&] { SampleWriter(place, kFields, 1, 512); }),
      cat("input: ", place, " - validation_every: got 1, want at least 2, or 0 for no validation split"));
  SampleWriter at_work(place, kFields, 4, 512);
  EXPECT_EQ(error_of([&] { SampleWriter(place, kFields, 4, 512); }),
            cat("input: ", place,
                ".part - another shoal data writes here; wait for its end, or name another --out"));
}

/// A writer that ends at its n-th change to the folder leaves no store, and the next one makes the whole.
TEST_F(SampleStoreTest, AKilledWriterLeavesNoStore) {
  const fs::path folder = temp_ / "killed";
  bool was_finished = false;
  for (int kill_at = 0; !was_finished; ++kill_at) {
    ASSERT_LT(kill_at, 200);
    const pid_t child = ::fork();
    if (child == 0) {
      int steps = 0;
      SampleWriter writer(folder, kFields, 4, 512, [&](const std::string&) {
        if (steps++ == kill_at) ::_exit(7);
      });
      for (const Given& sample : samples_) writer.add(sample.key, sample.values());
      writer.finish();
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    was_finished = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    EXPECT_EQ(fs::exists(folder), was_finished);
  }
  EXPECT_EQ(contents(folder), contents(folder_));
  EXPECT_FALSE(fs::exists(folder.string() + ".part"));
}

TEST_F(SampleStoreTest, BatchesArePadded) {
  const SampleShards store(folder_);
  const std::vector<int64_t> indexes = {3, 0, 7};
  const std::vector<size_t> fields = {1, 2};
  const auto batch = read_batch(store, Split::kTrain, indexes, fields);
  const auto longest = static_cast<size_t>(store.manifest().fields[1].longest);
  ASSERT_EQ(batch[0].numbers.size, 3 * longest * 2 * sizeof(int32_t));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(batch[0].numbers.data.get()) % 64, 0u);
  EXPECT_EQ(batch[1].lengths.size, 0u);
  for (size_t i = 0; i < 3; ++i) {
    const SampleView sample = store.sample(Split::kTrain, indexes[i]);
    int64_t length;
    std::memcpy(&length, batch[0].lengths.data.get() + 8 * i, 8);
    EXPECT_EQ(length, sample.values[1].length);
    std::vector<std::byte> want(longest * 8);
    std::ranges::copy(sample.values[1].bytes, want.begin());
    EXPECT_EQ(std::memcmp(batch[0].numbers.data.get() + i * want.size(), want.data(), want.size()), 0);
    EXPECT_EQ(std::memcmp(batch[1].numbers.data.get() + 8 * i, sample.values[2].bytes.data(), 8), 0);
  }
}

TEST_F(SampleStoreTest, ASampleStaysInItsSplit) {
  int64_t validate = 0;
  for (int i = 0; i < 1000; ++i) validate += split_of(cat("key ", i), 4) == Split::kValidation;
  EXPECT_GT(validate, 200);
  EXPECT_LT(validate, 300);
  EXPECT_EQ(split_of("anything", 0), Split::kTrain);
  EXPECT_EQ(split_of("frame 3", 5), split_of("frame 3", 5));
}

TEST_F(SampleStoreTest, IsDescribed) {
  const std::string text = SampleShards(folder_).describe();
  for (const char* part :
       {"  field      image: U8 [3, 2, 5]\n", "  field      words: I32 [-1, 2], the longest 6\n",
        "  field      label: I64 []\n", "lengths of words\n", "train 0: sample "})
    EXPECT_NE(text.find(part), std::string::npos) << text;
  EXPECT_TRUE(is_sample_store(folder_));
  EXPECT_FALSE(is_sample_store(temp_ / "none"));
}

TEST(PrefetchTest, LearnsWhatADeviceAsksFor) {
  int64_t made = 0;
  Prefetch<int64_t> prefetch(
      [&](int64_t i) {
        ++made;
        if (i == 42) throw InputError("no 42");
        return 10 * i;
      },
      6);
  // Microbatches 1, 4 and 3 of each round of 6.
  for (int64_t round = 0; round < 10; ++round)
    for (int64_t place : {1, 4, 3}) EXPECT_EQ(prefetch.get(6 * round + place), 10 * (6 * round + place));
  EXPECT_GE(prefetch.num_hits(), 26);
  EXPECT_EQ(error_of([&] { prefetch.get(42); }), "input: no 42");
  EXPECT_EQ(prefetch.get(43), 430);
}

}  // namespace
}  // namespace shoal::data
