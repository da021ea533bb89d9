#include "flow/group_table.h"

#include <gtest/gtest.h>

#include <string>

namespace shoal::flow {
namespace {

TEST(GroupTable, NumbersKeysInTheOrderInWhichTheyCome) {
  GroupTable table;
  for (const std::string text : {"", "a", "12345678", "123456789", "12345678x12345678", "12345678x1234567y"}) {
    const int64_t next = table.size();
    EXPECT_EQ(table.find(text), -1);
    EXPECT_EQ(table.find_or_add(text), next);
    EXPECT_EQ(table.find_or_add(text), next);
    EXPECT_EQ(table.find(text), next);
    EXPECT_EQ(table.key(next), text);
  }
  EXPECT_EQ(table.size(), 6);
}

// Slots have 16 bits for a length.
TEST(GroupTable, TellsLongKeysApart) {
  GroupTable table;
  for (const size_t length : {65'534, 65'535, 65'536, 131'071, 200'000}) {
    const std::string key(length, 'x'), other = std::string(length - 1, 'x') + "y";
    const int64_t next = table.size();
    EXPECT_EQ(table.find(key), -1) << length;
    EXPECT_EQ(table.find_or_add(key), next);
    EXPECT_EQ(table.find(other), -1) << length;
    EXPECT_EQ(table.find_or_add(other), next + 1);
    EXPECT_EQ(table.key(table.find(key)), key);
  }
  EXPECT_EQ(table.size(), 10);
}

// Where a run ends is decided by what its groups take, and must not depend on what a device did before.
TEST(GroupTable, WhatItTakesIsWhatItsKeysTake) {
  const auto fill = [](GroupTable& table, int keys) {
    for (int i = 0; i < keys; ++i) table.find_or_add("key " + std::to_string(i));
  };
  GroupTable used;
  fill(used, 100'000);
  used.clear();
  EXPECT_EQ(used.size(), 0);
  EXPECT_EQ(used.bytes(), GroupTable().bytes());
  for (const int keys : {1, 31, 32, 1000}) {
    GroupTable fresh;
    fill(fresh, keys);
    used.clear();
    fill(used, keys);
    EXPECT_EQ(used.bytes(), fresh.bytes()) << keys;
    EXPECT_EQ(used.key(keys - 1), fresh.key(keys - 1));
  }
}

}  // namespace
}  // namespace shoal::flow
