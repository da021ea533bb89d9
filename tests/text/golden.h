// What the originals make of texts, as tests/text/golden has it.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace shoal::text {

inline nlohmann::ordered_json golden(const std::string& name) {
  std::ifstream file(std::string(SHOAL_TESTS) + "/text/golden/" + name);
  return nlohmann::ordered_json::parse(file);
}

/// Goldens write bytes as characters up to U+00FF.
inline std::string golden_bytes(const std::string& text) {
  std::string bytes;
  for (size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    bytes += byte < 0x80 ? text[at] : static_cast<char>((byte & 3) << 6 | (text[++at] & 0x3F));
  }
  return bytes;
}

inline void expect_golden(const Tokenizer& tokenizer, const nlohmann::ordered_json& cases,
                          const EncodeOptions& options) {
  EXPECT_GE(cases.size(), 25u);
  for (const auto& one : cases)
    EXPECT_EQ(tokenizer.encode(golden_bytes(one["text"]), options), one["tokens"].get<std::vector<Token>>())
        << one["text"];
}

}  // namespace shoal::text
