#include "shoal/flow.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "flow/tables.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::flow {
namespace {

/// Small parts: every exchange has many runs and partitions.
constexpr int64_t kPartBytes = 4096;

Flow tables_flow(const std::filesystem::path& in) {
  Flow flow;
  flow.read(read_tables(in));
  flow.settings = {.memory_bytes = int64_t{64} << 20, .part_bytes = kPartBytes};
  return flow;
}

const std::map<std::string, std::function<void(Flow&)>>& flows() {
  static const std::map<std::string, std::function<void(Flow&)>> kFlows = {
      {"filter",
       [](Flow& f) {
         f.filter("n > 0 and text != ''")
             .with_column("twice", "n * 2")
             .select({{"id", "id"}, {"twice", "twice"}, {"x", "x"}});
       }},
      {"group_by",
       [](Flow& f) {
         f.group_by({"key"}, {{"rows", "count()"},
                              {"some", "count(x)"},
                              {"sum", "sum(x)"},
                              {"total", "sum(n)"},
                              {"mean", "mean(x)"},
                              {"low", "min(text)"},
                              {"high", "max(x)"},
                              {"kinds", "count_distinct(text)"}});
       }},
      {"all",
       [](Flow& f) {
         f.group_by({}, {{"rows", "count()"}, {"sum", "sum(x)"}});
       }},
      {"quantile",
       [](Flow& f) {
         f.group_by({"text"}, {{"half", "approx_quantile(x, 0.5)"}, {"high", "approx_quantile(n, 0.9)"}});
       }},
      {"join",
       [](Flow& f) {
         const FlowRead right = f.source;
         f.select({{"key", "key"}, {"n", "n % 21"}, {"left", "id"}})
             .filter("left % 2 == 0")
             .join({.right = right, .on = {"key", "n"}, .kind = "outer"});
       }},
      {"sort",
       [](Flow& f) {
         f.sort({"-key", "n"});
       }},
      {"distinct",
       [](Flow& f) {
         f.distinct({"key", "text"});
       }},
      {"window",
       [](Flow& f) {
         f.window({"key"}, {"-n"},
                  {{"row", "row_number()"},
                   {"before", "lag(id)"},
                   {"so_far", "running_sum(x)"},
                   {"total", "running_sum(n)"}});
       }},
      {"words",
       [](Flow& f) {
         f.flat_map("text", "words", "word")
             .group_by({"word"}, {{"times", "count()"}})
             .sort({"-times", "word"});
       }},
      {"near_duplicates",
       [](Flow& f) {
         f.near_duplicates({.column = "key", .shingles = "characters:2", .bands = 3, .rows = 2})
             .filter("id % 3 != 1");
       }},
      {"sample",
       [](Flow& f) {
         f.sample(0.3, 5).group_by({"key"}, {{"rows", "count()"}});
       }},
  };
  return kFlows;
}

class SameBytes : public testing::TestWithParam<std::string> {};

TEST_P(SameBytes, ForEveryNumberOfDevices) {
  TempFolder temp;
  write_tables(temp / "in");
  std::map<std::string, std::string> expected;
  for (const std::string format : {"jsonl", "parquet"}) {
    for (const int devices : {1, 2, 3, 4, 7}) {
      Flow flow = tables_flow(temp / "in");
      flows().at(GetParam())(flow);
      const auto out = temp / (format + std::to_string(devices));
      flow.write({.out = out.string(), .format = format});
      const FlowReport report = run_flow(flow, {.devices = devices});
      EXPECT_EQ(report.steps[0].rows_out, 2808);
      const auto files = contents(out);
      EXPECT_GE(files.size(), 3u);
      if (devices == 1) expected = files;
      EXPECT_EQ(files, expected) << devices;
      EXPECT_FALSE(std::filesystem::exists(out / ".work"));
    }
  }
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& [name, unused] : flows()) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Steps, SameBytes, testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

/// Small enough to be checked by eye.
std::string answer(const std::string& csv, const std::function<void(Flow&)>& steps,
                   int64_t part_bytes = 256) {
  TempFolder temp;
  write_file(temp / "in.csv", csv);
  Flow flow;
  flow.read({.paths = {(temp / "in.csv").string()}});
  steps(flow);
  flow.settings.part_bytes = part_bytes;
  flow.write({.out = (temp / "out").string(), .format = "csv"});
  run_flow(flow);
  return lines_of(temp / "out");
}

const std::string kSmall = "k,v\nb,1\na,2\n,3\nb,4\n\"\",5\na,\n";

TEST(Steps, GroupsComeByKeyNullLast) {
  EXPECT_EQ(
      answer(
          kSmall,
          [](Flow& f) {
            f.group_by(
                {"k"},
                {{"n", "count()"}, {"s", "sum(v)"}, {"m", "mean(v)"}, {"lo", "min(v)"}, {"c", "count(v)"}});
          }),
      "k,n,s,m,lo,c\n\"\",1,5,5,5,1\na,2,2,2,2,1\nb,2,5,2.5,1,2\n,1,3,3,3,1\n");
}

TEST(Steps, SortKeepsEqualRowsInOrder) {
  EXPECT_EQ(answer(kSmall, [](Flow& f) { f.sort({"-k"}); }), "k,v\nb,1\nb,4\na,2\na,\n\"\",5\n,3\n");
  EXPECT_EQ(answer(kSmall, [](Flow& f) { f.sort({"v"}); }), "k,v\nb,1\na,2\n,3\nb,4\n\"\",5\na,\n");
}

TEST(Steps, DistinctKeepsTheFirst) {
  EXPECT_EQ(answer(kSmall, [](Flow& f) { f.distinct({"k"}); }), "k,v\n\"\",5\na,2\nb,1\n,3\n");
}

TEST(Steps, WindowLooksBack) {
  EXPECT_EQ(
      answer(kSmall,
             [](Flow& f) {
               f.window({"k"}, {"-v"}, {{"i", "row_number()"}, {"p", "lag(v)"}, {"s", "running_sum(v)"}});
             }),
      "k,v,i,p,s\n\"\",5,1,,5\na,2,1,,2\na,,2,2,2\nb,4,1,,4\nb,1,2,4,5\n,3,1,,3\n");
}

TEST(Steps, JoinKeepsTheOrderOfTheLeft) {
  TempFolder temp;
  write_file(temp / "right.csv", "k,w\na,10\nb,20\na,11\n,30\n");
  const auto join = [&](const std::string& kind) {
    return answer(kSmall, [&](Flow& f) {
      f.join({.right = {.paths = {(temp / "right.csv").string()}}, .on = {"k"}, .kind = kind});
    });
  };
  EXPECT_EQ(join("inner"), "k,v,w\nb,1,20\na,2,10\na,2,11\nb,4,20\na,,10\na,,11\n");
  EXPECT_EQ(join("left"), "k,v,w\nb,1,20\na,2,10\na,2,11\n,3,\nb,4,20\n\"\",5,\na,,10\na,,11\n");
}

/// The obvious thing: each row of the left with each of the right, then what is left over.
std::string joined(const std::vector<std::pair<std::string, int>>& left,
                   const std::vector<std::pair<std::string, int>>& right, const std::string& kind) {
  std::string lines;
  std::vector<char> is_met(right.size());
  const auto line = [&](const std::string& key, const std::string& l, const std::string& r) {
    lines += key + "," + l + "," + r + "\n";
  };
  for (const auto& [key, number] : left) {
    bool any = false;
    for (size_t r = 0; r < right.size(); ++r) {
      if (key.empty() || key != right[r].first) continue;
      line(key, std::to_string(number), std::to_string(right[r].second));
      is_met[r] = any = true;
    }
    if (!any && (kind == "left" || kind == "outer")) line(key, std::to_string(number), "");
  }
  for (size_t r = 0; r < right.size(); ++r)
    if (!is_met[r] && (kind == "right" || kind == "outer"))
      line(right[r].first, "", std::to_string(right[r].second));
  return lines;
}

/// One key has nearly all rows of the left, so that it is cut among partitions; nulls on both sides; the
/// right is larger than what may be held.
TEST(Steps, JoinOnTheDisk) {
  TempFolder temp;
  std::mt19937 random(3);
  const auto make = [&](int rows, unsigned most) {
    std::vector<std::pair<std::string, int>> table;
    for (int row = 0; row < rows; ++row) {
      const unsigned draw = random() % 10;
      table.emplace_back(draw < most ? "big" : draw == 9 ? "" : "k" + std::to_string(random() % 12), row);
    }
    return table;
  };
  const auto left = make(300, 8), right = make(40, 2);
  std::string left_csv = "k,l\n", right_csv = "k,r,pad\n";
  for (const auto& [key, number] : left) left_csv += key + "," + std::to_string(number) + "\n";
  for (const auto& [key, number] : right)
    right_csv += key + "," + std::to_string(number) + "," + std::string(30'000, 'x') + "\n";
  write_file(temp / "left.csv", left_csv);
  write_file(temp / "right.csv", right_csv);
  for (const std::string kind : {"inner", "left", "right", "outer"}) {
    std::map<std::string, std::string> first;
    for (const int devices : {1, 2, 3, 4, 7}) {
      Flow flow;
      flow.read({.paths = {(temp / "left.csv").string()}})
          .join({.right = {.paths = {(temp / "right.csv").string()}}, .on = {"k"}, .kind = kind})
          .filter("pad is null or bytes(pad) == 30000")  // carried so far
          .select({{"k", "k"}, {"l", "l"}, {"r", "r"}});
      flow.settings = {.memory_bytes = int64_t{16} << 20, .part_bytes = 1024};
      EXPECT_NE(
          explain(flow.write({.out = "x", .format = "csv"})).find("join the partitions of stages 1 and 2"),
          std::string::npos);
      const auto out = temp / (kind + std::to_string(devices));
      const FlowReport report =
          run_flow(flow.write({.out = out.string(), .format = "csv"}), {.devices = devices});
      EXPECT_EQ(report.steps[1].rows_in, 300);
      EXPECT_EQ(report.steps[1].rows_out, report.rows);
      if (devices > 1) {
        EXPECT_EQ(contents(out), first) << kind << devices;
        continue;
      }
      first = contents(out);
      std::string lines;
      for (const auto& [name, bytes] : first)
        if (name.starts_with("part-")) lines += bytes.substr(bytes.find('\n') + 1);
      EXPECT_EQ(lines, joined(left, right, kind)) << kind;
    }
  }
}

TEST(Steps, JoinOnTheDiskNeedsOneKeysRowsInMemory) {
  TempFolder temp;
  write_file(temp / "left.csv", "k,l\na,1\n");
  std::string right = "k,pad\n";
  for (int row = 0; row < 80; ++row) right += "a," + std::string(30'000, 'x') + "\n";
  write_file(temp / "right.csv", right);
  Flow flow;
  flow.read({.paths = {(temp / "left.csv").string()}})
      .join({.right = {.paths = {(temp / "right.csv").string()}}, .on = {"k"}})
      .write({.out = (temp / "out").string()});
  flow.settings.memory_bytes = int64_t{16} << 20;
  EXPECT_ERROR(
      run_flow(flow), InputError,
      "flow - step 1, join: rows of the right side that one key has take more than 2.0 MiB, an eighth of "
      "memory: put this table on the left, or set memory higher");
  // What nobody needs of it is not read.
  Flow narrow;
  narrow.read({.paths = {(temp / "left.csv").string()}})
      .join({.right = {.paths = {(temp / "right.csv").string()}}, .on = {"k"}})
      .select({{"l", "l"}})
      .write({.out = (temp / "narrow").string()});
  narrow.settings = flow.settings;
  EXPECT_EQ(run_flow(narrow).rows, 80);
}

TEST(Steps, QuantilesAreNear) {
  std::mt19937 random(9);
  std::vector<double> numbers;
  std::string csv = "x,n\n";
  for (int row = 0; row < 3000; ++row) {
    numbers.push_back((static_cast<double>(random()) - 2e9) / static_cast<double>(1 + random() % 100'000));
    csv += std::to_string(numbers.back()) + "," + std::to_string(row % 400) + "\n";
    numbers.back() = std::stod(std::to_string(numbers.back()));
  }
  std::sort(numbers.begin(), numbers.end());
  for (const char* fraction : {"0", "0.01", "0.5", "0.99", "1"}) {
    const std::string text = answer(
        csv,
        [&](Flow& f) {
          f.group_by({}, {{"q", std::string("approx_quantile(x, ") + fraction + ")"},
                          {"w", std::string("approx_quantile( n ,") + fraction + ")"}});
        },
        10'000);
    const double share = std::stod(fraction);
    const size_t rank = std::max<size_t>(static_cast<size_t>(std::ceil(share * 3000)), 1);
    const double exact = numbers[rank - 1];
    const size_t begin = text.find('\n') + 1;
    EXPECT_NEAR(std::stod(text.substr(begin)), exact, std::abs(exact) / 256) << fraction;
    double whole = 0;  // small whole numbers are exact: 3,000 rows have 0 to 399 seven or eight times each
    for (int row = 0, seen = 0; row < 400; ++row) {
      seen += row < 200 ? 8 : 7;
      if (seen >= static_cast<int>(rank)) {
        whole = row;
        break;
      }
    }
    EXPECT_EQ(std::stod(text.substr(text.find(',', begin) + 1)), whole) << fraction;
  }
  EXPECT_EQ(answer("x,k\n,a\nnan,b\n-0,c\n",
                   [](Flow& f) {
                     f.with_column("x", "float(x)").group_by({"k"}, {{"q", "approx_quantile(x, 0.5)"}});
                   }),
            "k,q\na,\nb,nan\nc,0\n");
}

TEST(Steps, SumsOfNoRows) {
  const auto none = [](Flow& f) {
    f.filter("v > 100").group_by({}, {{"n", "count()"}, {"s", "sum(v)"}, {"m", "max(k)"}});
  };
  EXPECT_EQ(answer(kSmall, none), "n,s,m\n0,,\n");
  EXPECT_EQ(answer(kSmall,
                   [](Flow& f) {
                     f.filter("v > 100").group_by({"k"}, {{"n", "count()"}});
                   }),
            "k,n\n");
}

TEST(Steps, PiecesOfText) {
  const std::string csv = "id,s\n1,ACGT\n2,\n3,AC\n";
  EXPECT_EQ(answer(csv,
                   [](Flow& f) {
                     f.flat_map("s", "kmers:3", "kmer").select({{"id", "id"}, {"kmer", "kmer"}});
                   }),
            "id,kmer\n1,ACG\n1,CGT\n");
  EXPECT_EQ(answer(csv, [](Flow& f) { f.flat_map("s", "split:C", "s"); }), "id,s\n1,A\n1,GT\n3,A\n3,\"\"\n");
}

TEST(Steps, FunctionsOfTheUsersOwn) {
  const auto twice = [](const std::shared_ptr<arrow::RecordBatch>& batch) {  // every row two times
    std::vector<std::shared_ptr<arrow::Array>> columns;
    for (const auto& column : batch->columns())
      columns.push_back(arrow::Concatenate({column, column}).ValueOrDie());
    return arrow::RecordBatch::Make(batch->schema(), batch->num_rows() * 2, columns);
  };
  EXPECT_EQ(answer(kSmall,
                   [&](Flow& f) {
                     f.map("twice", twice).group_by({}, {{"n", "count()"}, {"s", "sum(v)"}});
                   }),
            "n,s\n12,30\n");
  EXPECT_ERROR(answer(kSmall,
                      [](Flow& f) {
                        f.map("bad", [](const auto&) -> std::shared_ptr<arrow::RecordBatch> {
                          throw std::runtime_error("no");
                        });
                      }),
               JobError, "flow - step 1, map - the function threw: std::runtime_error: no");
}

TEST(Steps, ErrorsAreSaidBeforeAnyWork) {
  const auto refused = [](const std::function<void(Flow&)>& steps) { return answer(kSmall, steps); };
  EXPECT_ERROR(refused([](Flow& f) {
                 f.group_by({"kk"}, {{"n", "count()"}});
               }),
               InputError, "flow - step 1, group_by: unknown column: got kk, want one of k, v");
  EXPECT_ERROR(refused([](Flow& f) {
                 f.group_by({"k"}, {{"n", "median(v)"}});
               }),
               InputError, "flow - step 1, group_by, n: unknown aggregate: got median, want mean");
  EXPECT_ERROR(refused([](Flow& f) {
                 f.group_by({"k"}, {{"n", "approx_quantile(v)"}});
               }),
               InputError,
               "flow - step 1, group_by, n: got approx_quantile(v), want a column and 0 to 1, as in "
               "approx_quantile(x, 0.5)");
  EXPECT_ERROR(refused([](Flow& f) {
                 f.group_by({"k"}, {{"n", "sum(k)"}});
               }),
               InputError, "flow - step 1, group_by, n: sum does not take text, want numbers");
  EXPECT_ERROR(refused([](Flow& f) { f.filter("v"); }), InputError,
               "flow - step 1, filter: got an expression of type int64, want a condition (bool)");
  EXPECT_ERROR(
      refused([](Flow& f) {
        f.window({"k"}, {}, {{"i", "rank()"}});
      }),
      InputError,
      "flow - step 1, window, i: unknown window function: got rank, want row_number, lag or running_sum");
  EXPECT_ERROR(refused([](Flow& f) {
                 f.settings.part_bytes = 0, f.settings.memory_bytes = 5;
                 f.sort({"k"});
                 f.settings.part_bytes = 1;
               }),
               InputError, "flow - memory: got 5 B, want at least 16 MiB");
}

}  // namespace
}  // namespace shoal::flow
