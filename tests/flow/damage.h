// Whether what a flow wrote is looked at closely enough.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <random>
#include <string>

#include "data/corpus.h"
#include "shoal/error.h"

namespace shoal::flow {

/// Each file of the output but its report is cut short at `cuts` random places, and has a random bit of it
/// flipped `flips` times: `look` throws an InputError that names it, and nothing once all is as it was.
inline void expect_damage_is_found(const std::filesystem::path& folder, int cuts, int flips,
                                   const std::function<void()>& look) {
  EXPECT_NO_THROW(look());
  std::mt19937 random(5);
  for (const auto& [name, bytes] : data::contents(folder)) {
    if (name == "report.html") continue;
    for (int i = 0; i < cuts + flips; ++i) {
      std::string damaged = bytes;
      if (i < cuts) {
        damaged.resize(random() % bytes.size());
      } else {
        char& byte = damaged[random() % bytes.size()];
        byte = static_cast<char>(byte ^ (1 << random() % 8));
      }
      data::write_file(folder / name, damaged);
      try {
        look();
        ADD_FAILURE() << name << ": not found, damage " << i;
      } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      }
    }
    data::write_file(folder / name, bytes);
  }
  EXPECT_NO_THROW(look());
}

}  // namespace shoal::flow
