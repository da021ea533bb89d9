#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "flow/min_hash.h"
#include "flow/tables.h"
#include "shoal/error.h"
#include "shoal/flow.h"
#include "support/expect_error.h"

namespace shoal::flow {
namespace {

using flow_steps::NearDuplicates;

std::string random_words(std::mt19937& random, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "w" + std::to_string(random() % 5000) + (i % 9 == 8 ? ".\\n" : " ");
  return text;
}

/// Texts of their own, copies of earlier ones with a word or two changed (of copies too), exact copies, nulls
/// and texts without words.
std::vector<std::string> make_texts(int count) {
  std::mt19937 random(7);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    const unsigned kind = i < 20 ? 0 : random() % 10;
    if (kind < 5) {
      texts.push_back(random_words(random, 40 + static_cast<int>(random() % 60)));
    } else if (kind < 9) {
      std::string text = texts[random() % texts.size()];
      for (unsigned changes = random() % 3; changes > 0 && text.size() > 10; --changes) {
        const size_t at = text.find(' ', random() % (text.size() - 5));
        if (at != std::string::npos) text.insert(at, "x" + std::to_string(random() % 100));
      }
      texts.push_back(text);
    } else {
      texts.push_back(random() % 2 ? "" : " .. - ");
    }
  }
  return texts;
}

void write_texts(const std::filesystem::path& folder, const std::vector<std::string>& texts) {
  std::string lines;
  for (size_t i = 0; i < texts.size(); ++i) {
    lines += "{\"id\":" + std::to_string(i) +
             ",\"text\":" + (i % 97 == 96 ? "null" : "\"" + texts[i] + "\"") + "}\n";
    if (i % 100 == 99 || i + 1 == texts.size()) {
      write_file(folder / ("t" + std::to_string(100 + i / 100) + ".jsonl"), lines);
      lines.clear();
    }
  }
}

/// The ids that are kept when each pair of texts is looked at that shares a band.
std::vector<int> by_hand(const std::vector<std::string>& texts, const NearDuplicates& step) {
  MinHasher hasher(step, "test");
  std::vector<int> root(texts.size());
  std::vector<std::vector<uint64_t>> bands(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string text = texts[i];
    for (size_t at = text.find("\\n"); at != std::string::npos; at = text.find("\\n"))
      text.replace(at, 2, "\n");
    root[i] = static_cast<int>(i);
    if (i % 97 != 96 && hasher.sign(text)) bands[i] = hasher.band_hashes();
  }
  for (size_t i = 0; i < texts.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      for (size_t b = 0; b < std::min(bands[i].size(), bands[j].size()); ++b)
        if (bands[i][b] == bands[j][b] && root[i] != root[j]) {
          const int low = std::min(root[i], root[j]), high = std::max(root[i], root[j]);
          for (int& r : root)
            if (r == high) r = low;
        }
  std::vector<int> kept;
  for (size_t i = 0; i < texts.size(); ++i)
    if (root[i] == static_cast<int>(i)) kept.push_back(static_cast<int>(i));
  return kept;
}

struct Answer {
  std::vector<int> ids;
  FlowReport report;
};

Answer answer(const std::filesystem::path& in, const NearDuplicates& step, int64_t part_bytes = 4096,
              int devices = 2, bool sorted = false) {
  TempFolder temp;
  Flow flow;
  flow.read({.paths = {in.string()}, .columns = {{"id", "int"}, {"text", "text"}}});
  flow.filter("id >= 0");
  if (sorted) flow.sort({"id"});
  flow.with_column("twice", "id * 2").near_duplicates(step).select({{"id", "id"}});
  flow.settings.part_bytes = part_bytes;
  flow.write({.out = (temp / "out").string(), .format = "csv"});
  Answer answer;
  answer.report = run_flow(flow, {.devices = devices});
  for (const auto& [name, bytes] : contents(temp / "out")) {
    if (!name.starts_with("part-")) continue;
    std::istringstream lines(bytes);
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) answer.ids.push_back(std::stoi(line));
  }
  return answer;
}

TEST(NearDuplicates, KeepsTheFirstOfEachCluster) {
  TempFolder temp;
  const auto texts = make_texts(600);
  write_texts(temp / "in", texts);
  const NearDuplicates step{.column = "text", .shingles = "words:3", .bands = 20, .rows = 5, .seed = 3};
  const std::vector<int> expected = by_hand(texts, step);
  EXPECT_GT(expected.size(), 300u);
  EXPECT_LT(expected.size(), 450u);
  // however the input is cut, and whatever stands before
  for (const int64_t part_bytes : {700, 4096, 200'000}) {
    EXPECT_EQ(answer(temp / "in", step, part_bytes).ids, expected) << part_bytes;
    EXPECT_EQ(answer(temp / "in", step, part_bytes, 3, true).ids, expected) << part_bytes;
  }
  const FlowReport report = answer(temp / "in", step).report;
  ASSERT_EQ(report.steps.size(), 5u);
  EXPECT_EQ(report.steps[1].rows_in, 600);  // counted once, though read twice
  EXPECT_EQ(report.steps[3].step, "near_duplicates text by words:3, 20 bands of 5 seed 3");
  EXPECT_EQ(report.steps[3].rows_in, 600);
  EXPECT_EQ(report.steps[3].rows_out, static_cast<int64_t>(expected.size()));
  EXPECT_EQ(report.rows, static_cast<int64_t>(expected.size()));
}

TEST(NearDuplicates, TwoInARow) {
  TempFolder temp;
  write_texts(temp / "in", make_texts(300));
  const auto run = [&](int devices) {
    Flow flow;
    flow.read({.paths = {(temp / "in").string()}});
    flow.near_duplicates({.column = "text", .shingles = "words:3"})
        .near_duplicates({.column = "text", .shingles = "characters:9", .bands = 30, .rows = 4})
        .sort({"-id"});
    flow.settings.part_bytes = 4096;
    flow.write({.out = (temp / ("out" + std::to_string(devices))).string(), .format = "csv"});
    const FlowReport report = run_flow(flow, {.devices = devices});
    EXPECT_EQ(report.steps[1].rows_in, 300);
    EXPECT_EQ(report.steps[1].rows_out, report.steps[2].rows_in);
    EXPECT_LT(report.steps[2].rows_out, report.steps[2].rows_in);
    EXPECT_EQ(report.steps[3].rows_in, report.steps[3].rows_out);
    return contents(temp / ("out" + std::to_string(devices)));
  };
  EXPECT_EQ(run(1), run(3));
}

TEST(NearDuplicates, CandidatesMayBeCompared) {
  TempFolder temp;
  std::mt19937 random(1);
  std::string shared;
  for (int i = 0; i < 60; ++i) shared += "s" + std::to_string(i) + " ";
  std::vector<std::string> texts;
  for (int i = 0; i < 30; ++i) texts.push_back(shared + random_words(random, 40));  // about 4 of 10 are alike
  texts.push_back(texts[3]);
  write_texts(temp / "in", texts);
  NearDuplicates step{.column = "text", .shingles = "words:1", .bands = 60, .rows = 2};
  EXPECT_LT(answer(temp / "in", step).ids.size(), 3u);
  step.similarity = 0.8;
  for (const int64_t part_bytes : {700, 200'000}) {
    const auto ids = answer(temp / "in", step, part_bytes).ids;
    EXPECT_EQ(ids.size(), 30u) << part_bytes;
    EXPECT_EQ(ids.back(), 29) << part_bytes;
  }
}

TEST(NearDuplicates, TextsThatAreThereVeryOftenAreNoBurden) {
  TempFolder temp;
  std::vector<std::string> texts(5000, "the same words again and again and again");
  texts[17] = "quite another text that is like none of the others here";
  write_texts(temp / "in", texts);
  const auto ids = answer(temp / "in", {.column = "text"}, 4096).ids;
  std::vector<int> expected = {0, 17};
  for (int i = 96; i < 5000; i += 97) expected.push_back(i);  // null
  EXPECT_EQ(ids, expected);
}

TEST(NearDuplicates, WordsAreComparedWithoutCapitalsAndPunctuation) {
  MinHasher hasher({.column = "text"}, "test");
  const auto sign = [&](const std::string& text) {
    EXPECT_TRUE(hasher.sign(text));
    return hasher.signature();
  };
  EXPECT_EQ(sign("The quick, brown fox -- jumps over it."), sign("the QUICK brown\nfox jumps (over) it"));
  EXPECT_NE(sign("the quick brown fox jumps over it"), sign("the quick brown fox jumps over him"));
  EXPECT_EQ(sign("two words"), sign("Two words!"));
  EXPECT_NE(sign("two words"), sign("two word"));
  EXPECT_FALSE(hasher.sign(""));
  EXPECT_FALSE(hasher.sign(" ... !"));
  MinHasher characters({.column = "text", .shingles = "characters:3"}, "test");
  EXPECT_TRUE(characters.sign("\xe7\x8b\x90"));
  EXPECT_NE(characters.signature(), sign("\xe7\x8b\x90\xe7\x8b\x90"));
}

/// Of numbers of two signatures as many are equal as shingles are in both, of those in any.
TEST(NearDuplicates, SignaturesEstimateSimilarity) {
  MinHasher hasher({.column = "text", .shingles = "words:1", .bands = 128, .rows = 8}, "test");
  for (const int both : {100, 300, 500, 800, 950}) {
    double exact = 0, equal = 0, estimated = 0;
    for (int pair = 0; pair < 8; ++pair) {
      std::string a, b;
      const int apart = 1000 - both;
      const std::string stem = " v" + std::to_string(pair) + "x";
      for (int i = 0; i < both + apart / 2; ++i) a += stem + std::to_string(i);
      for (int i = apart / 2; i < 1000; ++i) b += stem + std::to_string(i);
      exact = static_cast<double>(both) / 1000;
      hasher.sign(a);
      const auto first = hasher.signature();
      const std::string sketch = hasher.sketch();
      hasher.sign(b);
      for (size_t i = 0; i < 1024; ++i) equal += first[i] == hasher.signature()[i];
      estimated += estimated_similarity(sketch, hasher.sketch());
    }
    EXPECT_NEAR(equal / 8192, exact, 0.025);  // four standard deviations of 8,192 draws
    EXPECT_NEAR(estimated / 8, exact, 0.025);
  }
}

TEST(NearDuplicates, WhatDoesNotFitIsSaid) {
  TempFolder temp;
  write_texts(temp / "in", {"a"});
  const auto refused = [&](const NearDuplicates& step) { return answer(temp / "in", step); };
  EXPECT_ERROR(refused({.column = "txt"}), InputError,
               "flow - step 3, near_duplicates: unknown column: got txt, want text");
  EXPECT_ERROR(refused({.column = "id"}), InputError,
               "flow - step 3, near_duplicates: column id: got int64, want text");
  EXPECT_ERROR(
      refused({.column = "text", .shingles = "words"}), InputError,
      "flow - step 3, near_duplicates: shingles: got words, want words:N or characters:N, N from 1 to 1000");
  EXPECT_ERROR(
      refused({.column = "text", .bands = 0}), InputError,
      "flow - step 3, near_duplicates: bands and rows: got 0 and 8, want at least 1 each, and at most "
      "4096 numbers together");
  EXPECT_ERROR(refused({.column = "text", .similarity = 1.5}), InputError,
               "flow - step 3, near_duplicates: similarity: got 1.5, want 0 to 1");
}

}  // namespace
}  // namespace shoal::flow
