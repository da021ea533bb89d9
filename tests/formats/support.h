// What the tests of model files share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "formats/tiny_models.h"
#include "state/support.h"
#include "support/expect_error.h"

namespace shoal::formats {

using state::TemporaryFolder;

inline std::string bytes_of_weight(const Weight& weight) {
  return {reinterpret_cast<const char*>(weight.data), static_cast<size_t>(bytes_of(weight))};
}

/// Whether the open model has these weights, to the bit, and no others.
inline void expect_weights(const ModelFile& file, const TinyModel& model) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : model.weights) {
    names.push_back(name);
    const auto weight = file.weight(name);
    ASSERT_TRUE(weight) << name;
    EXPECT_EQ(weight->type, entry.first.type) << name;
    EXPECT_EQ(weight->rows, entry.first.rows) << name;
    EXPECT_EQ(weight->columns, entry.first.columns) << name;
    EXPECT_TRUE(bytes_of_weight(*weight) == entry.second) << name;
  }
  EXPECT_EQ(file.weight_names(), names);
}

}  // namespace shoal::formats
