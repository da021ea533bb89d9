#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "shoal/error.h"
#include "support/expect_error.h"
#include "text/golden.h"

namespace shoal::text {
namespace {

using json = nlohmann::ordered_json;

std::unique_ptr<const Tokenizer> of_json(const std::string& name) {
  return make_tokenizer(parse_tokenizer_json(golden(name)["tokenizer"].dump(), "", name), name);
}

std::unique_ptr<const Tokenizer> sentence_piece() {
  TokenizerSpec spec{.model = TokenizerModel::kSentencePiece, .add_space_prefix = true, .unknown = 0};
  const std::vector<TokenKind> kinds = {TokenKind::kNormal,  TokenKind::kNormal,      TokenKind::kUnknown,
                                        TokenKind::kControl, TokenKind::kUserDefined, TokenKind::kUnused,
                                        TokenKind::kByte};
  const json file = golden("sentence_piece.json");
  for (const auto& entry : file["vocabulary"])
    spec.vocabulary.push_back({entry[0], entry[1], kinds[entry[2].get<size_t>()]});
  return make_tokenizer(spec, "sentence_piece.json");
}

TEST(Tokenizer, EqualsTheOriginals) {
  for (const std::string name : {"llama3.json", "qwen.json", "llama2.json"}) {
    SCOPED_TRACE(name);
    const auto tokenizer = of_json(name);
    expect_golden(*tokenizer, golden(name)["plain"], {});
    expect_golden(*tokenizer, golden(name)["special"], {.add_special = true, .parse_special = true});
  }
  expect_golden(*sentence_piece(), golden("sentence_piece.json")["plain"], {});
}

TEST(Tokenizer, GivesTheTextBack) {
  const auto tokenizers = {of_json("llama3.json"), of_json("llama2.json"), sentence_piece(),
                           make_tokenizer({}, "bytes")};
  const json file = golden("llama3.json");
  for (const auto& tokenizer : tokenizers)
    for (const auto& one : file["plain"]) {
      const std::string text = golden_bytes(one["text"]);
      Utf8Stream stream;
      const bool whole = stream.add(text) + stream.finish() == text;
      // What is no UTF-8 became U+FFFD, and SentencePiece takes U+2581 for a space.
      if (!whole || text.find("\xE2\x96\x81") != std::string::npos) continue;
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
    }
}

TEST(Tokenizer, PiecesAreWhatDecodeGives) {
  for (const auto& tokenizer : {of_json("llama3.json"), make_tokenizer({}, "bytes")}) {
    const auto tokens = tokenizer->encode("caf\xC3\xA9 <|im_end|> \xF0\x9F\x98\x80", {.parse_special = true});
    std::string pieces, all;
    for (const Token token : tokens) {
      pieces += tokenizer->piece(token);
      all += tokenizer->piece(token, true);
    }
    EXPECT_EQ(tokenizer->decode(tokens), pieces);
    EXPECT_EQ(tokenizer->decode(tokens, true), all);
    EXPECT_EQ(all, "caf\xC3\xA9 <|im_end|> \xF0\x9F\x98\x80");
  }
}

TEST(Tokenizer, ControlTokensAreTextUnlessAskedFor) {
  const auto tokenizer = of_json("llama3.json");
  const auto parsed = tokenizer->encode("<|im_start|>a<|im_end|>", {.parse_special = true});
  ASSERT_EQ(parsed.size(), 3u);
  EXPECT_EQ(parsed[0], 1);
  EXPECT_EQ(parsed[2], 2);
  EXPECT_TRUE(tokenizer->is_end(2));
  EXPECT_EQ(tokenizer->decode(parsed), "a");
  EXPECT_EQ(tokenizer->decode(parsed, true), "<|im_start|>a<|im_end|>");
  const auto plain = tokenizer->encode("<|im_start|>a<|im_end|>");
  EXPECT_GT(plain.size(), 3u);
  EXPECT_EQ(tokenizer->decode(plain), "<|im_start|>a<|im_end|>");
}

TEST(Tokenizer, OfBytesHasAnEndWhereThereIsRoom) {
  const auto spec = byte_tokenizer(300);
  const auto tokenizer = make_tokenizer(spec, "bytes");
  EXPECT_EQ(tokenizer->size(), 300);
  EXPECT_TRUE(tokenizer->is_end(256));
  EXPECT_EQ(tokenizer->encode("a\xFF\n"), (std::vector<Token>{97, 255, 10}));
  EXPECT_EQ(tokenizer->decode(std::vector<Token>{97, 256, 255}), "a\xFF");
  EXPECT_TRUE(byte_tokenizer(256).ends.empty());
  EXPECT_ERROR_CONTAINS(byte_tokenizer(255), "tokenizer of bytes - vocabulary: got 255, want at least 256");
}

// A word is as long as it likes: time grows with n log n. The quadratic way would take minutes.
TEST(Tokenizer, TakesLongWordsInStride) {
  const auto llama3 = of_json("llama3.json"), qwen = of_json("qwen.json");
  const auto of_scores = sentence_piece();
  std::string marks = "a";  // in the wrong order
  for (int i = 0; i < 100'000; ++i) marks += i % 2 ? "\xCC\xA3" : "\xCC\x81";
  const auto begin = std::chrono::steady_clock::now();
  for (const auto* tokenizer : {llama3.get(), qwen.get(), of_scores.get()})
    for (const auto& text :
         {std::string(300'000, 'a'), std::string(300'000, ' '), std::string(300'000, '\n'), marks})
      EXPECT_FALSE(tokenizer->encode(text).empty());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(Tokenizer, ServesThreadsAtOnce) {
  const auto tokenizer = of_json("qwen.json");
  const std::string text =
      golden_bytes(golden("qwen.json")["plain"].back()["text"]) + " and so on, over and over";
  const auto want = tokenizer->encode(text);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) count += tokenizer->encode(text) != want;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Tokenizer, PreTokenizersCutAsTheirFamiliesDo) {
  // With a vocabulary of bytes alone, and merges of nothing, words show in what ignore_merges takes whole.
  const auto words = [](const std::string& name, const std::vector<std::string>& known,
                        const std::string& text) {
    TokenizerSpec spec{.model = TokenizerModel::kBytePairs};
    set_pre_tokenizer(spec, name, "test");
    spec.ignore_merges = true;
    for (int byte = 33; byte < 127; ++byte)
      spec.vocabulary.push_back({std::string(1, static_cast<char>(byte))});
    spec.vocabulary.push_back({"\xC4\xA0"});  // the space
    for (const auto& word : known) spec.vocabulary.push_back({word});
    const auto tokenizer = make_tokenizer(spec, "test");
    std::vector<std::string> pieces;
    for (const Token token : tokenizer->encode(text)) pieces.push_back(tokenizer->piece(token));
    return pieces;
  };
  using Words = std::vector<std::string>;
  EXPECT_EQ(words("llama-bpe", {"123", "4567"}, "1234567"), (Words{"123", "4", "5", "6", "7"}));
  EXPECT_EQ(words("gpt-2", {"1234567"}, "1234567"), (Words{"1234567"}));
  EXPECT_EQ(words("smollm", {"12"}, "12"), (Words{"1", "2"}));
  EXPECT_EQ(words("qwen2", {"(a", "12"}, "(a12"), (Words{"(a", "1", "2"}));
  EXPECT_EQ(words("tekken", {"Camel", "Case"}, "CamelCase"), (Words{"Camel", "Case"}));
  EXPECT_EQ(words("gpt-4o", {"don't"}, "don't"), (Words{"don't"}));
  EXPECT_EQ(words("deepseek-v3", {"123", ".a"}, "1234.a"), (Words{"123", "4", ".a"}));
  EXPECT_EQ(words("deepseek-coder",
                  {"\xC4\xA0"
                   "a",
                   "12"},
                  " a12"),
            (Words{" a", "1", "2"}));
  EXPECT_EQ(words("default", {"1234", "123", "a."}, "1234a."), (Words{"123", "4", "a", "."}));
  TokenizerSpec spec;
  EXPECT_ERROR_CONTAINS(set_pre_tokenizer(spec, "none", "a.gguf"),
                        "a.gguf - tokenizer.ggml.pre: got 'none', want one of default, gpt-2, ");
}

TEST(Tokenizer, RefusesWhatContradictsItself) {
  TokenizerSpec spec{.model = TokenizerModel::kBytePairs};
  EXPECT_ERROR_CONTAINS(make_tokenizer(spec, "a.gguf"),
                        "a.gguf - vocabulary: got no tokens, want at least one");
  spec.vocabulary = {{"a"}, {"b"}};
  spec.eos = 2;
  EXPECT_ERROR_CONTAINS(make_tokenizer(spec, "a.gguf"),
                        "a.gguf - eos: got token 2, want one below 2, the size of the vocabulary");
  spec.eos.reset();
  spec.add_bos = true;
  EXPECT_ERROR_CONTAINS(make_tokenizer(spec, "a.gguf"),
                        "a.gguf - add_bos: got true without a bos token, want one");
  spec.add_bos = false;
  spec.merges = {{"a", "b"}};
  EXPECT_ERROR_CONTAINS(make_tokenizer(spec, "a.gguf"),
                        "a.gguf - merges, number 1 ('a' and 'b'): got 'ab', want a token of the vocabulary");
  spec.merges.clear();
  spec.splits = {"("};
  EXPECT_ERROR_CONTAINS(make_tokenizer(spec, "a.gguf"), "a.gguf - expression that cuts text: got '('");
  spec.splits.clear();
  spec.model = TokenizerModel::kSentencePiece;
  EXPECT_ERROR_CONTAINS(make_tokenizer(spec, "a.gguf"),
                        "got neither a token for each byte nor an unknown token");
  spec.vocabulary.push_back({"<0xZZ>", 0, TokenKind::kByte});
  EXPECT_ERROR_CONTAINS(make_tokenizer(spec, "a.gguf"),
                        "a.gguf - vocabulary, token 2: got '<0xZZ>' as a byte, want the form <0x0A>");
}

TEST(TokenizerJson, RefusesWhatItDoesNotKnow) {
  const auto refusal = [](const std::function<void(json&)>& change, const std::string& sentence) {
    json file = golden("llama3.json")["tokenizer"];
    change(file);
    EXPECT_ERROR_CONTAINS(parse_tokenizer_json(file.dump(), "", "folder"), sentence);
  };
  refusal([](json& file) { file["model"]["type"] = "Unigram"; },
          "folder - model.type: got 'Unigram', want BPE");
  refusal([](json& file) { file["model"]["type"] = "WordPiece"; },
          "folder - model.type: got 'WordPiece', want BPE");
  refusal(
      [](json& file) {
        file["normalizer"] = {{"type", "Lowercase"}};
      },
      "folder - normalizer: got {\"type\":\"Lowercase\"}, want Sequence, NFC, ");
  refusal(
      [](json& file) {
        file["pre_tokenizer"] = {{"type", "Whitespace"}};
      },
      "folder - pre_tokenizer: got {\"type\":\"Whitespace\"}, want Sequence, ");
  refusal([](json& file) { file["added_tokens"][0]["lstrip"] = true; },
          "folder - added_tokens, '<|begin|>', lstrip: got true, want false");
  refusal(
      [](json& file) {
        file["post_processor"] = {{"type", "BertProcessing"}};
      },
      "folder - post_processor: got ");
  refusal([](json& file) { file.erase("model"); },
          "folder - tokenizer.json: got what cannot be read as one (");
  EXPECT_ERROR_CONTAINS(parse_tokenizer_json("{", "", "folder"),
                        "folder - tokenizer.json: got what cannot be read as one (");
}

TEST(TokenizerJson, TakesTheConfigsWord) {
  const std::string file = golden("llama2.json")["tokenizer"].dump();
  const auto spec =
      parse_tokenizer_json(file, R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": null,
                                                   "tokenizer_class": "LlamaTokenizer", "add_bos_token": false})",
                           "folder");
  EXPECT_EQ(spec.bos, 1);
  EXPECT_EQ(spec.eos, 2);
  EXPECT_EQ(spec.ends, std::vector<Token>{2});
  EXPECT_FALSE(spec.padding);
  EXPECT_FALSE(spec.add_bos);
  EXPECT_TRUE(parse_tokenizer_json(file, "", "folder").add_bos);
}

TEST(Utf8Stream, GivesWholeCharactersOnly) {
  const std::string text = "a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80";
  Utf8Stream stream;
  std::string out;
  for (const char byte : text) {
    out += stream.add(std::string(1, byte));
    EXPECT_TRUE(text.starts_with(out));
  }
  EXPECT_EQ(out, text);
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.add("\xE4\xB8"), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.add("\xE4\xB8x\xFF"), "\xEF\xBF\xBDx\xEF\xBF\xBD");  // one for each longest beginning
  EXPECT_EQ(stream.add("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

}  // namespace
}  // namespace shoal::text
