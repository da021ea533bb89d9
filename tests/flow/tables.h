// Input for the tests of flow: small tables with what breaks things in them.
#pragma once

#include <map>
#include <random>
#include <string>

#include "data/corpus.h"
#include "shoal/flow.h"

namespace shoal::flow {

using data::contents;
using data::read_file;
using data::TempFolder;
using data::write_file;

/// Lines of JSON: a key that one value has nine times of ten, nulls, NaN as text in a float column, text of
/// several alphabets, an empty file and an odd number of files.
inline void write_tables(const std::filesystem::path& folder, int rows_per_file = 700) {
  std::mt19937 random(11);
  const std::string words[] = {
      "fox",         "\xd0\xbb\xd0\xb8\xd1\x81\xd0\xb0", "\xe7\x8b\x90 \xe7\x8b\xb8", "", "a \\\"b\\\"",
      "na\xc3\xafve"};
  int id = 0;
  for (int file = 0; file < 5; ++file) {
    std::string lines;
    for (int row = 0; file != 2 && row < rows_per_file + file; ++row, ++id) {
      lines += "{\"id\":" + std::to_string(id) + ",\"key\":";
      lines += random() % 10  ? "\"big\""
               : random() % 7 ? "\"k" + std::to_string(random() % 40) + "\""
                              : "null";
      lines += ",\"x\":" + (random() % 9   ? std::to_string(static_cast<double>(random() % 100000) / 777.0)
                            : random() % 2 ? "null"
                                           : "\"nan\"");
      lines += ",\"n\":" + std::to_string(static_cast<int>(random() % 2001) - 1000);
      lines += ",\"text\":\"" + words[random() % std::size(words)] + "\"}\n";
    }
    write_file(folder / ("t" + std::to_string(file) + ".jsonl"), lines);
  }
}

inline FlowRead read_tables(const std::filesystem::path& folder) {
  return {.paths = {folder.string()},
          .format = "jsonl",
          .columns = {{"id", "int"}, {"key", "text"}, {"x", "float"}, {"n", "int"}, {"text", "text"}}};
}

/// All rows of an output of lines, in order.
inline std::string lines_of(const std::filesystem::path& folder) {
  std::string lines;
  for (const auto& [name, bytes] : contents(folder))
    if (name.starts_with("part-")) lines += bytes;
  return lines;
}

}  // namespace shoal::flow
