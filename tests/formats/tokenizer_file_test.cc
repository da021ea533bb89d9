#include "formats/tokenizer_file.h"

#include <gtest/gtest.h>

#include <bit>

#include "base/text.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::formats {
namespace {

// A protocol buffer, written field by field.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string number(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
std::string bytes_field(int field, const std::string& bytes) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string real(int field, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return varint(static_cast<uint64_t>(field) << 3 | 5) + std::string(reinterpret_cast<const char*>(&bits), 4);
}
std::string piece(const std::string& name, float score, uint64_t kind) {
  return bytes_field(1, bytes_field(1, name) + real(2, score) + (kind == 1 ? "" : number(3, kind)));
}

struct Model {
  uint64_t type = 2;
  bool removes_spaces = false, adds_space = true;
  std::string map;
  std::string bytes() const {
    std::string all = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3);
    for (int byte = 0; byte < 256; ++byte) {
      constexpr char kDigits[] = "0123456789ABCDEF";
      all += piece(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", 0, 6);
    }
    int rank = 0;
    for (const char* word : {"\xE2\x96\x81", "a", "b", "ab",
                             "\xE2\x96\x81"
                             "ab"})
      all += piece(word, static_cast<float>(-rank++), 1);
    all += bytes_field(2, number(3, type) + number(40, 0) + number(41, 1) + number(42, 2) +
                              number(43, ~uint64_t{0}));  // -1: none
    all += bytes_field(3, bytes_field(1, "identity") + bytes_field(2, map) + number(3, adds_space) +
                              number(4, removes_spaces) + number(5, 1));
    return all + bytes_field(5, "of no interest");
  }
};

TEST(SentencePieceModel, SaysWhatTheTokenizerDoes) {
  const auto spec = parse_sentence_piece_model(Model().bytes(), "m.model");
  EXPECT_EQ(spec.vocabulary.size(), 264u);
  EXPECT_EQ(spec.unknown, 0);
  EXPECT_EQ(spec.bos, 1);
  EXPECT_EQ(spec.eos, 2);
  EXPECT_FALSE(spec.padding.has_value());
  EXPECT_EQ(spec.vocabulary[3 + 'A'].kind, text::TokenKind::kByte);
  const auto tokenizer = text::make_tokenizer(spec, "m.model");
  EXPECT_EQ(tokenizer->encode("ab"), (std::vector<text::Token>{263}));
  EXPECT_EQ(tokenizer->encode("abab c"), (std::vector<text::Token>{263, 262, 259, 3 + 'c'}));
  Model plain;
  plain.adds_space = false;
  EXPECT_EQ(text::make_tokenizer(parse_sentence_piece_model(plain.bytes(), "m"), "m")->encode("ab"),
            (std::vector<text::Token>{262}));
}

TEST(SentencePieceModel, WhatItCannotDoIsSaid) {
  const auto refused = [](const Model& model) { parse_sentence_piece_model(model.bytes(), "m.model"); };
  EXPECT_ERROR(refused({.type = 1}), InputError, "m.model - model_type: got unigram, want BPE");
  EXPECT_ERROR(refused({.removes_spaces = true}), InputError,
               "m.model - remove_extra_whitespaces: got true, want false");
  EXPECT_ERROR(refused({.map = "x"}), InputError,
               "m.model - normalizer: got a table of characters (as nmt_nfkc has), want identity");
  EXPECT_ERROR(parse_sentence_piece_model("", "m.model"), InputError,
               "m.model - got no pieces, trainer_spec or normalizer_spec, want a SentencePiece model");
}

TEST(SentencePieceModel, TruncatedAndChangedFilesEndInASentence) {
  const std::string bytes = Model().bytes();
  int refused = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    for (const std::string& file : {bytes.substr(0, i), damaged}) {
      try {
        text::make_tokenizer(parse_sentence_piece_model(file, "m"), "m");
      } catch (const InputError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, static_cast<int>(bytes.size()));
}

}  // namespace
}  // namespace shoal::formats
