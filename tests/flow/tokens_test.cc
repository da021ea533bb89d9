// Flows that write tokens, and tokenizers.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "data/token_store.h"
#include "flow/damage.h"
#include "flow/parse_flow.h"
#include "flow/tables.h"
#include "formats/tokenizer_file.h"
#include "shoal/error.h"
#include "support/expect_error.h"
#include "text/bpe_trainer.h"
#include "text/identity.h"

namespace shoal::flow {
namespace {

std::vector<std::string> make_texts() {
  std::mt19937 random(5);
  const std::string words[] = {"the",  "fox",          "jumps",        "over", "lazy",
                               "dogs", "na\xc3\xafve", "\xe7\x8b\x90", "123"};
  std::vector<std::string> texts;
  for (int i = 0; i < 400; ++i) {
    std::string text;
    for (unsigned n = random() % 30; n > 0; --n)
      text += words[random() % std::size(words)] + (n > 1 ? " " : "");
    texts.push_back(text);
  }
  return texts;
}

class Tokens : public testing::Test {
 protected:
  Tokens() : texts_(make_texts()) {
    std::string lines;
    for (size_t i = 0; i < texts_.size(); ++i)
      lines +=
          "{\"id\":" + std::to_string(i) + ",\"body\":" + (i == 7 ? "null" : "\"" + texts_[i] + "\"") + "}\n";
    write_file(temp_ / "in/a.jsonl", lines);
  }
  Flow flow(FlowWrite write) {
    Flow flow;
    flow.read({.paths = {(temp_ / "in").string()}, .columns = {{"id", "int"}, {"body", "text"}}});
    flow.settings.part_bytes = 2048;
    write.out = (temp_ / write.out).string();
    flow.write(std::move(write));
    return flow;
  }
  /// A tokenizer learned from the texts, and its folder.
  std::string learn(int64_t vocabulary = 320, int devices = 2) {
    const std::string out = "tokenizer" + std::to_string(vocabulary) + "-" + std::to_string(devices);
    run_flow(flow({.out = out, .format = "tokenizer", .column = "body", .vocabulary = vocabulary}),
             {.devices = devices});
    return (temp_ / out).string();
  }
  /// What the store should hold: texts that are there and not empty.
  std::vector<std::vector<int64_t>> expected(const text::TokenizerSpec& spec,
                                             const std::function<bool(size_t)>& is) {
    const auto tokenizer = text::make_tokenizer(spec, "test");
    std::vector<std::vector<int64_t>> documents;
    for (size_t i = 0; i < texts_.size(); ++i) {
      if (i == 7 || texts_[i].empty() || !is(i)) continue;
      const auto tokens = tokenizer->encode(texts_[i]);
      documents.emplace_back(tokens.begin(), tokens.end());
      documents.back().push_back(*spec.eos);
    }
    return documents;
  }
  static std::vector<std::vector<int64_t>> documents_of(const data::TokenStore& store, data::Split split) {
    std::vector<int64_t> all(static_cast<size_t>(store.num_tokens(split)));
    store.tokens(split, 0, all);
    std::vector<std::vector<int64_t>> documents;
    int64_t at = 0;
    for (const int64_t length : store.document_lengths(split)) {
      documents.emplace_back(all.begin() + at, all.begin() + at + length);
      at += length;
    }
    EXPECT_EQ(at, store.num_tokens(split));
    return documents;
  }
  std::vector<std::string> texts_;
  TempFolder temp_;
};

TEST_F(Tokens, OfBytes) {
  const FlowReport report = run_flow(flow({.out = "store", .format = "tokens", .column = "body"}));
  EXPECT_EQ(report.rows, 400);
  const data::TokenStore store(temp_ / "store");
  store.verify();
  EXPECT_EQ(store.manifest().tokenizer.kind, "bytes");
  EXPECT_EQ(store.manifest().tokenizer.vocabulary, 257);
  EXPECT_EQ(store.manifest().token_bytes, 2);
  EXPECT_EQ(documents_of(store, data::Split::kTrain),
            expected(text::byte_tokenizer(257), [](size_t) { return true; }));
  EXPECT_EQ(store.num_tokens(data::Split::kValidation), 0);
  EXPECT_GT(store.manifest()[data::Split::kTrain].unigram_entropy, 2);
}

TEST_F(Tokens, OfALearnedTokenizerSplitInTwo) {
  const std::string tokenizer = learn();
  const auto spec = formats::open_tokenizer(tokenizer, "test");
  EXPECT_GT(spec.vocabulary.size(), 270u);  // of 320: there are few words, and nothing more comes twice
  EXPECT_LE(spec.vocabulary.size(), 320u);
  std::map<std::string, std::string> first;
  for (const int devices : {1, 2, 3, 4, 7}) {
    const std::string out = "store" + std::to_string(devices);
    Flow f = flow({.out = out, .format = "tokens", .column = "body", .tokenizer = tokenizer});
    f.split({"id"}, {{"train", 0.9}, {"validation", 0.1}}, 3);
    run_flow(f, {.devices = devices});
    const auto files = contents(temp_ / out);
    if (devices == 1) first = files;
    EXPECT_EQ(files, first) << devices;
    EXPECT_EQ(run_flow(f).parts_kept, run_flow(f).files);  // finished: compared
  }
  // the same rows as in files of lines
  Flow lines = flow({.out = "lines", .format = "csv"});
  lines.split({"id"}, {{"train", 0.9}, {"validation", 0.1}}, 3).settings.part_bytes = 1 << 16;
  run_flow(lines);
  const std::string validation = "\n" + lines_of(temp_ / "lines/validation");
  const auto is_validation = [&](size_t i) {
    return validation.find("\n" + std::to_string(i) + ",") != std::string::npos;
  };
  const data::TokenStore store(temp_ / "store1");
  EXPECT_EQ(store.manifest().tokenizer.kind, "byte pairs");
  EXPECT_EQ(store.manifest().tokenizer.identity, text::identity(spec));
  EXPECT_EQ(documents_of(store, data::Split::kTrain),
            expected(spec, [&](size_t i) { return !is_validation(i); }));
  EXPECT_EQ(documents_of(store, data::Split::kValidation), expected(spec, is_validation));
  EXPECT_GT(documents_of(store, data::Split::kValidation).size(), 15u);
}

TEST_F(Tokens, DocumentsAreFoundAgain) {
  run_flow(flow({.out = "store", .format = "tokens", .column = "body"}));
  const data::TokenStore store(temp_ / "store");
  const auto split = data::Split::kTrain;
  std::vector<int64_t> starts;
  int64_t at = 0;
  for (const int64_t length : store.document_lengths(split)) {
    starts.push_back(at);
    at += length;
  }
  EXPECT_EQ(store.document_starts(split, 0, at), starts);
  std::mt19937 random(2);
  for (int i = 0; i < 50; ++i) {
    const int64_t begin = static_cast<int64_t>(random() % static_cast<unsigned>(at));
    const int64_t count = static_cast<int64_t>(random() % 500) % (at - begin + 1);
    std::vector<int64_t> wanted;
    for (const int64_t start : starts)
      if (start >= begin && start < begin + count) wanted.push_back(start);
    EXPECT_EQ(store.document_starts(split, begin, count), wanted);
  }
  const std::string text = store.describe();
  EXPECT_NE(text.find("tokenizer  bytes, vocabulary 257, documents end with 256, 2 bytes a token"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("       64 to 127  #"), std::string::npos) << text;
}

TEST_F(Tokens, EveryDamageIsFound) {
  run_flow(flow({.out = "store", .format = "tokens", .column = "body"}));
  expect_damage_is_found(temp_ / "store", 7, 13, [&] { data::TokenStore(temp_ / "store").verify(); });
}

/// The plainest way: count all pairs anew for each merge.
std::vector<std::pair<std::string, std::string>> merges_by_hand(
    const std::vector<std::pair<std::string, int64_t>>& words, size_t count) {
  std::vector<std::pair<std::vector<std::string>, int64_t>> all;
  for (const auto& [word, times] : words) {
    all.push_back({{}, times});
    for (const char c : word) all.back().first.emplace_back(1, c);
  }
  std::vector<std::pair<std::string, std::string>> merges;
  while (merges.size() < count) {
    std::map<std::pair<std::string, std::string>, int64_t> pairs;
    for (const auto& [symbols, times] : all)
      for (size_t i = 0; i + 1 < symbols.size(); ++i) pairs[{symbols[i], symbols[i + 1]}] += times;
    std::pair<std::string, std::string> best;
    int64_t most = 1;
    for (const auto& [pair, times] : pairs)
      if (times > most) best = pair, most = times;  // of equals the first, by bytes
    if (most < 2) break;
    merges.push_back(best);
    for (auto& [symbols, times] : all)
      for (size_t i = 0; i + 1 < symbols.size(); ++i)
        if (symbols[i] == best.first && symbols[i + 1] == best.second) {
          symbols[i] += symbols[i + 1];
          symbols.erase(symbols.begin() + static_cast<int64_t>(i) + 1);
        }
  }
  return merges;
}

TEST_F(Tokens, PairsAreLearnedAsByHand) {
  std::mt19937 random(8);
  for (int round = 0; round < 12; ++round) {
    std::map<std::string, int64_t> counts;
    for (int i = 0; i < 60; ++i) {
      std::string word;
      for (unsigned n = 1 + random() % 9; n > 0; --n)
        word += static_cast<char>('a' + random() % (2 + round % 4));
      counts[word] += 1 + static_cast<int64_t>(random() % 5);
    }
    std::vector<std::pair<std::string, int64_t>> words(counts.begin(), counts.end());
    std::shuffle(words.begin(), words.end(), random);
    text::BpeTraining training;
    training.vocabulary = 256 + 40;
    const auto spec = text::train_byte_pairs(words, training, "test");
    const auto by_hand = merges_by_hand(words, spec.merges.size());
    EXPECT_EQ(spec.merges, by_hand) << round;
    EXPECT_GT(spec.merges.size(), 20u);
  }
}

TEST_F(Tokens, ATokenizerIsTheSameForEveryNumberOfDevices) {
  const auto one = contents(learn(300, 1));
  EXPECT_EQ(one.size(), 4u);
  for (const int devices : {2, 3, 4, 7}) EXPECT_EQ(contents(learn(300, devices)), one) << devices;
  const auto spec = formats::open_tokenizer((temp_ / "tokenizer300-1").string(), "test");
  const auto tokenizer = text::make_tokenizer(spec, "test");
  EXPECT_EQ(spec.vocabulary[*spec.eos].text, "<|endoftext|>");
  for (const std::string& text : texts_) EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_LT(tokenizer->encode("the lazy dogs").size(), 5u);
}

TEST_F(Tokens, PipelineFile) {
  const std::string in = "[read]\npaths = [\"" + (temp_ / "in").string() + "\"]\n";
  write_file(temp_ / "t.toml",
             in + "[write]\nout = \"" + (temp_ / "t").string() +
                 "\"\nformat = \"tokenizer\"\ncolumn = \"body\"\nvocabulary = 280\nspecial = "
                 "[\"<|end|>\", \"<|x|>\"]\npattern = \"llama3\"\n");
  write_file(temp_ / "p.toml", in + "[write]\nout = \"" + (temp_ / "s").string() +
                                   "\"\nformat = \"tokens\"\ncolumn = \"body\"\ntokenizer = \"" +
                                   (temp_ / "t").string() + "\"\n");
  run_flow(load_flow(temp_ / "t.toml"));
  run_flow(load_flow(temp_ / "p.toml"));
  const data::TokenStore store(temp_ / "s");
  EXPECT_EQ(store.manifest().tokenizer.vocabulary, 280);
  EXPECT_EQ(store.manifest().tokenizer.end_of_document, 278);
}

TEST_F(Tokens, WhatDoesNotFitIsSaid) {
  const auto refused = [&](FlowWrite write) { run_flow(flow(std::move(write))); };
  EXPECT_ERROR(refused({.out = "x", .format = "tokens"}), InputError,
               "flow - write, column: unknown column: got text, want one of id, body");
  EXPECT_ERROR(refused({.out = "x", .format = "tokens", .column = "id"}), InputError,
               "flow - write: column id: got int64, want text");
  EXPECT_ERROR(
      refused({.out = "x", .format = "tokens", .column = "body", .tokenizer = "/nowhere"}), InputError,
      "flow - write: tokenizer: got /nowhere, which is not there; want bytes, a GGUF file, a folder with "
      "tokenizer.json, such a file, or a SentencePiece .model");
  EXPECT_ERROR(
      refused({.out = "x", .format = "tokenizer", .column = "body", .vocabulary = 100}), InputError,
      "flow - write: vocabulary: got 100, want at least 257 (256 bytes and 1 special tokens) and at most "
      "16777216");
  Flow f = flow({.out = "x", .format = "tokens", .column = "body"});
  f.split({"id"}, {{"train", 0.5}, {"test", 0.5}});
  EXPECT_ERROR(
      run_flow(f), InputError,
      "flow - step 1, split: parts: got test, want train and validation, the splits of a token store");
}

}  // namespace
}  // namespace shoal::flow
