// shuffle, split, and mixtures of sources.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "flow/parse_flow.h"
#include "flow/tables.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::flow {
namespace {

std::string numbers(int from, int to) {
  std::string lines = "id,group\n";
  for (int i = from; i < to; ++i) lines += std::to_string(i) + "," + std::to_string(i % 50) + "\n";
  return lines;
}

class Shuffle : public testing::Test {
 protected:
  Shuffle() { write_file(temp_ / "in/a.csv", numbers(0, 2000)); }
  Flow flow(const std::string& out, int64_t part_bytes = 1024) {
    Flow flow;
    flow.read({.paths = {(temp_ / "in").string()}});
    flow.settings.part_bytes = part_bytes;
    flow.write({.out = (temp_ / out).string(), .format = "csv"});
    return flow;
  }
  /// The first column of a folder's files, in order.
  static std::vector<int> ids(const std::filesystem::path& folder) {
    std::vector<int> ids;
    for (const auto& [name, bytes] : contents(folder)) {
      if (!name.starts_with("part-")) continue;
      std::istringstream lines(bytes);
      std::string line;
      std::getline(lines, line);
      while (std::getline(lines, line)) ids.push_back(std::stoi(line));
    }
    return ids;
  }
  TempFolder temp_;
};

TEST_F(Shuffle, AnyOrderOfTheSeed) {
  std::vector<int> sorted(2000);
  for (int i = 0; i < 2000; ++i) sorted[static_cast<size_t>(i)] = i;
  std::set<std::vector<int>> orders;
  for (const uint64_t seed : {0, 1, 2}) {
    Flow f = flow("s" + std::to_string(seed));
    f.shuffle(seed);
    const FlowReport report = run_flow(f, {.devices = 2});
    EXPECT_EQ(report.steps[1].rows_out, 2000);
    std::vector<int> order = ids(f.sink.out);
    // places of a random order: the mean distance of neighbours is a third of all
    double distance = 0;
    for (size_t i = 0; i + 1 < order.size(); ++i) distance += std::abs(order[i] - order[i + 1]) / 1999.0;
    EXPECT_NEAR(distance, 2000.0 / 3, 60);
    orders.insert(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, sorted);
  }
  EXPECT_EQ(orders.size(), 3u);
}

TEST_F(Shuffle, ByColumnsItDoesNotMatterHowTheInputIsCut) {
  Flow small = flow("small", 700), large = flow("large", 65536);
  small.shuffle(4, {"id"});
  large.shuffle(4, {"id"});
  run_flow(small);
  run_flow(large, {.devices = 3});
  EXPECT_EQ(ids(small.sink.out), ids(large.sink.out));
}

TEST_F(Shuffle, SplitByHash) {
  const auto split = [&](const std::string& out, int devices, int64_t part_bytes = 1024) {
    Flow f = flow(out, part_bytes);
    f.split({"group"}, {{"train", 0.8}, {"validation", 0.2}, {"none", 0}}, 1);
    return run_flow(f, {.devices = devices});
  };
  const FlowReport report = split("a", 1);
  EXPECT_EQ(report.rows, 2000);
  EXPECT_EQ(report.steps[1].step, "split by group: train = 0.8, validation = 0.2, none = 0 seed 1");
  EXPECT_EQ(report.steps[1].rows_in, 2000);
  const auto train = ids(temp_ / "a/train"), validation = ids(temp_ / "a/validation");
  EXPECT_EQ(train.size() + validation.size(), 2000u);
  EXPECT_EQ(ids(temp_ / "a/none").size(), 0u);
  std::set<int> groups;
  for (const int id : validation) groups.insert(id % 50);
  EXPECT_GT(groups.size(), 2u);
  EXPECT_LT(groups.size(), 20u);
  for (const int id : train) EXPECT_FALSE(groups.contains(id % 50));  // a group stays together
  EXPECT_TRUE(std::is_sorted(train.begin(), train.end()));
  EXPECT_FALSE(std::filesystem::exists(temp_ / "a/.work"));
  split("b", 3);
  for (const std::string part : {"train", "validation", "none"})
    EXPECT_EQ(contents(temp_ / ("a/" + part)), contents(temp_ / ("b/" + part)));
  split("c", 2, 65536);
  EXPECT_EQ(ids(temp_ / "c/validation"), validation);
  EXPECT_EQ(split("a", 2).parts_kept, report.files);  // finished: compared
}

TEST_F(Shuffle, MixtureTakesRowsAsOftenAsTheWeightsSay) {
  write_file(temp_ / "more/b.csv", "group,id\n7,5000\n8,5001\n");  // in another order
  const auto mixed = [&](const std::string& out, int devices) {
    Flow f = flow(out);
    f.read({.paths = {(temp_ / "in").string()}}, 0.25).mix({{.paths = {(temp_ / "more").string()}}, 3});
    f.settings.seed = 5;
    return run_flow(f, {.devices = devices});
  };
  const FlowReport report = mixed("a", 1);
  EXPECT_EQ(report.steps[0].rows_in, 2002);
  EXPECT_EQ(report.steps[0].rows_out, report.rows);
  std::vector<int> got = ids(temp_ / "a");
  EXPECT_NEAR(static_cast<double>(got.size()), 506, 80);  // four standard deviations
  EXPECT_EQ(std::vector<int>(got.end() - 6, got.end()),
            (std::vector<int>{5000, 5000, 5000, 5001, 5001, 5001}));
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
  mixed("b", 3);
  EXPECT_EQ(contents(temp_ / "a"), contents(temp_ / "b"));
}

TEST_F(Shuffle, PipelineFile) {
  write_file(temp_ / "more/b.csv", "id,group\n5000,1\n");
  write_file(temp_ / "p.toml",
             "seed = 3\n[[read]]\npaths = [\"" + (temp_ / "in").string() +
                 "\"]\nweight = 2\n[[read]]\npaths = [\"" + (temp_ / "more").string() +
                 "\"]\n[[step]]\nshuffle = { seed = 9, by = [\"id\"] }\n[[step]]\nsplit = { by = "
                 "[\"id\"], parts = { a = 0.5, b = 0.5 }, seed = 2 }\n[write]\nout = \"" +
                 (temp_ / "out").string() + "\"\nformat = \"csv\"\n");
  const Flow parsed = load_flow(temp_ / "p.toml");
  EXPECT_EQ(run_flow(parsed).rows, 4001);
  const std::string plan = explain(parsed);
  EXPECT_NE(plan.find(", weight 2\n"), std::string::npos) << plan;
  EXPECT_NE(plan.find("exchange: shuffle by id seed 9"), std::string::npos) << plan;
  EXPECT_NE(plan.find(", in folders a, b: id, group"), std::string::npos) << plan;
}

TEST_F(Shuffle, WhatDoesNotFitIsSaid) {
  const auto refused = [&](const std::function<void(Flow&)>& change) {
    Flow f = flow("out");
    change(f);
    run_flow(f);
  };
  EXPECT_ERROR(refused([](Flow& f) {
                 f.split({"id"}, {{"a", 1}}).filter("id > 3");
               }),
               InputError, "flow - step 1, split: got steps behind it, want split as the last one");
  EXPECT_ERROR(refused([](Flow& f) {
                 f.split({"id"}, {{"a", 0.5}, {"b", 0.4}});
               }),
               InputError, "flow - step 1, split: parts: got shares of 0.9 in all, want 1");
  EXPECT_ERROR(
      refused([](Flow& f) {
        f.split({"id"}, {{"a", 0.5}, {"../b", 0.5}});
      }),
      InputError,
      "flow - step 1, split: parts: got the name '../b', want letters, digits and _, each name once: they "
      "are folders");
  EXPECT_ERROR(refused([](Flow& f) {
                 f.split({}, {{"a", 1}});
               }),
               InputError, "flow - step 1, split: by: got no column, want at least one, as by = [\"id\"]");
  EXPECT_ERROR(refused([](Flow& f) { f.weight = -1; }), InputError,
               "flow - read: weight: got -1, want 0 to 1000");
  write_file(temp_ / "more/b.csv", "id,other\n1,2\n");
  EXPECT_ERROR(
      refused([&](Flow& f) { f.mix({.read = {.paths = {(temp_ / "more").string()}}}); }), InputError,
      "flow - read 2: columns: got id, other, want id, group with the types of the first source; column "
      "group is missing");
}

}  // namespace
}  // namespace shoal::flow
