#include "flow/source.h"

#include <arrow/io/compressed.h>
#include <arrow/io/file.h>
#include <arrow/util/compression.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "base/text.h"
#include "flow/tables.h"
#include "flow/writers.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::flow {
namespace {

/// All rows as CSV, whatever the parts.
std::string rows_of(const FlowRead& read, int64_t part_bytes, BadRecords* bad_out = nullptr) {
  const Source source(read, part_bytes, "p.toml - read");
  BadRecords bad = source.policy();
  std::string text;
  for (const SourcePart& part : source.parts())
    for (const Segment& segment : part.segments) {
      const auto reader = source.open(segment, bad);
      while (const Batch batch = reader->next())
        for (int64_t row = 0; row < batch->num_rows(); ++row) {
          for (int c = 0; c < batch->num_columns(); ++c) {
            if (c > 0) text += "|";
            if (batch->column(c)->IsNull(row)) text += "null";
            append_value(text, *batch->column(c), row);
          }
          text += "\n";
        }
    }
  if (bad_out) *bad_out = bad;
  return text;
}

/// However a file is cut, its rows are the same.
void expect_rows(const FlowRead& read, const std::string& expected) {
  for (const int64_t part_bytes : {1, 2, 3, 5, 7, 16, 33, 1000})
    EXPECT_EQ(rows_of(read, part_bytes), expected) << part_bytes;
}

class Reading : public testing::Test {
 protected:
  FlowRead file(const std::string& name, const std::string& bytes) {
    write_file(temp_ / name, bytes);
    return {.paths = {(temp_ / name).string()}};
  }
  TempFolder temp_;
};

TEST_F(Reading, Text) {
  expect_rows(file("a.txt", "one\n\ntwo\r\nthree"), "one\n\ntwo\nthree\n");
  expect_rows(file("b.txt", "\n\n"), "\n\n");
  expect_rows(file("c.txt", ""), "");
}

TEST_F(Reading, Csv) {
  expect_rows(file("a.csv", "n,x,s,b\n1,0.5,\"a,\"\"b\"\"\",true\n,,,\n-3,1e3,\"\",false\n"),
              "1|0.5|a,\"b\"|true\nnull|null|null|null\n-3|1000||false\n");
  expect_rows(file("a.tsv", "n\ts\n1\ta,b\n"), "1|a,b\n");
  FlowRead bare = file("c.csv", "1,2\n3,4\n");
  bare.header = false;
  expect_rows(bare, "1|2\n3|4\n");
}

TEST_F(Reading, Jsonl) {
  expect_rows(file("a.jsonl", R"({"a": 1, "b": "x\u00e9\n\ud83d\ude00", "c": [1, {"d": "]"}]}
{"b": null, "a": -5, "e": true}

{"c": {}, "a": 7}
)"),
              "1|x\xc3\xa9\n\xf0\x9f\x98\x80|[1, {\"d\": \"]\"}]|null\n-5|null|null|true\n7|null|{}|null\n");
}

TEST_F(Reading, Sequences) {
  expect_rows(file("a.fastq", "@r1 first\nACGT\n+\n@III\n@r2\nGG\n+r2\n@@\n"),
              "r1|first|ACGT|@III\nr2|null|GG|@@\n");
  expect_rows(file("a.fasta", ">c1 one\nACGT\nAC\n\n>c2\nTT\n>c3\n"),
              "c1|one|ACGTAC\nc2|null|TT\nc3|null|\n");
}

TEST_F(Reading, PackedFiles) {
  for (const auto& [suffix, kind] :
       {std::pair{".gz", arrow::Compression::GZIP}, std::pair{".zst", arrow::Compression::ZSTD}}) {
    std::string lines;
    for (int i = 0; i < 1000; ++i) lines += std::to_string(i) + "\n";
    const auto path = temp_ / ("n.txt" + std::string(suffix));
    auto file = arrow::io::FileOutputStream::Open(path.string()).ValueOrDie();
    const std::shared_ptr<arrow::util::Codec> codec = arrow::util::Codec::Create(kind).ValueOrDie();
    auto packed = arrow::io::CompressedOutputStream::Make(codec.get(), file).ValueOrDie();
    ASSERT_TRUE(packed->Write(lines).ok() && packed->Close().ok());
    EXPECT_EQ(rows_of({.paths = {path.string()}}, 100), lines);
    write_file(path, read_file(path).substr(0, 200));
    EXPECT_THROW(rows_of({.paths = {path.string()}}, 100), InputError) << suffix;
  }
}

TEST_F(Reading, ManyFilesShareParts) {
  for (int i = 0; i < 20; ++i)
    write_file(temp_ / ("in/f" + std::to_string(100 + i) + ".txt"), "line " + std::to_string(i) + "\n");
  const Source source({.paths = {(temp_ / "in").string()}}, 40, "read");
  EXPECT_EQ(source.files().size(), 20u);
  EXPECT_EQ(source.parts().size(), 4u);
  EXPECT_EQ(Source({.paths = {(temp_ / "in/f10*.txt").string()}}, 40, "read").files().size(), 10u);
}

TEST_F(Reading, BadRecords) {
  const std::string csv = "n,s\n1,a\nx,b\n3,c,d\n4,\"e\n5,\xff\n6,f\n";
  FlowRead read = file("bad.csv", csv);
  read.columns = {{"n", "int"}, {"s", "text"}};
  const std::string path = read.paths[0];
  EXPECT_ERROR(
      rows_of(read, 1000), InputError,
      path + ":3 - column n: got x, want a whole number; mend it, or set bad_records to skip or collect");
  EXPECT_ERROR(
      rows_of(read, 10), InputError,
      path + ":3 - column n: got x, want a whole number; mend it, or set bad_records to skip or collect");
  for (const char* policy : {"skip", "collect"}) {
    read.bad_records = policy;
    BadRecords bad;
    EXPECT_EQ(rows_of(read, 7, &bad), "1|a\n6|f\n");
    EXPECT_EQ(bad.count, 4);
    EXPECT_EQ(bad.first, path + ", byte 8: column n: got x, want a whole number");
    EXPECT_EQ(bad.lines.empty(), policy == std::string("skip"));
  }
  FlowRead json = file("bad.jsonl", "{\"a\":1}\n{\"a\":\n[]\n{\"a\":2} x\n");
  EXPECT_ERROR(rows_of(json, 1000), InputError,
               json.paths[0] + ":2 - not JSON at byte 6; mend it, or set bad_records to skip or collect");
  FlowRead reads = file("bad.fastq", "@a\nAC\n+\nII\n@b\nAC\n+\nI\n@c\nG\n+\nI\n");
  reads.bad_records = "skip";
  expect_rows(reads, "a|null|AC|II\nc|null|G|I\n");
  for (const int64_t part_bytes : {1, 4, 9, 1000}) {  // counted once, wherever the file is cut
    BadRecords bad;
    rows_of(reads, part_bytes, &bad);
    EXPECT_EQ(bad.count, 1) << part_bytes;
  }
}

/// Whatever is in a file, reading it ends, and never by a signal: the rows of damaged ones may be wrong,
/// where the format has no checksums.
TEST_F(Reading, DamagedFilesEndInASentence) {
  const std::string lines = "{\"n\":1,\"s\":\"one\"}\n{\"n\":2,\"s\":null}\n{\"n\":3,\"s\":\"three\"}\n";
  const Source source(file("a.jsonl", lines), 1000, "read");
  BadRecords bad;
  const Batch batch = source.open(source.parts()[0].segments[0], bad)->next();
  std::mt19937 random(9);
  for (const std::string format : {"ipc", "parquet"}) {
    const std::string name = output_name(0, format);
    const auto writer = make_writer({.format = format}, nullptr, batch->schema(), temp_ / "", "", 0);
    writer->write(batch);
    writer->finish();
    const std::string bytes = read_file(temp_ / name);
    EXPECT_EQ(rows_of({.paths = {(temp_ / name).string()}}, 1000), "1|one\n2|null\n3|three\n");
    int refused = 0;
    for (int i = 0; i < 400; ++i) {
      std::string damaged = bytes;
      if (i % 4 == 0)
        damaged.resize(random() % bytes.size());
      else
        damaged[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
      try {
        rows_of(file(name, damaged), 1000);
      } catch (const Error&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 100) << format;
  }
}

TEST_F(Reading, Refusals) {
  EXPECT_ERROR(Source({.paths = {}}, 10, "p.toml - read"), InputError,
               "p.toml - read: paths: got none, want files, folders or globs");
  EXPECT_ERROR(Source({.paths = {"/no/such"}}, 10, "p.toml - read"), InputError,
               "p.toml - read: paths: /no/such is no file or folder; name one that is there");
  const FlowRead odd = file("a.xyz", "1");
  EXPECT_ERROR(Source(odd, 10, "p.toml - read"), InputError,
               "p.toml - read: format: got xyz (the suffix of " + odd.paths[0] +
                   "), want text, jsonl, csv, tsv, parquet, ipc, fastq, fasta or images");
  const FlowRead not_parquet = file("a.parquet", "not parquet at all");
  EXPECT_THROW(Source(not_parquet, 10, "p.toml - read"), InputError);
}

TEST_F(Reading, InputThatChanges) {
  FlowRead read = file("a.txt", "one\ntwo\n");
  const Source source(read, 100, "read");
  write_file(temp_ / "a.txt", "one\ntwo\nthree\n");
  BadRecords bad;
  EXPECT_ERROR(source.open(source.parts()[0].segments[0], bad), JobError,
               read.paths[0] +
                   " - changed while it was read: got 14 bytes, want the 8 that it had; run the same command "
                   "again once it rests");
}

/// What a flow does not need is not read, and nothing else changes.
TEST_F(Reading, OnlyTheColumnsThatAreNeeded) {
  const auto source = file("a.csv", "a,b,c,d\n1,x,2,3\n4,y,5,6\n1,z,7,8\n");
  for (const std::string format : {"parquet", "ipc"}) {
    const std::string table = (temp_ / format).string();
    run_flow(Flow().read(source).write({.out = table, .format = format}));
    const std::string part = table + (format == "ipc" ? "/part-00000.arrow" : "/part-00000.parquet");
    Source columnar({.paths = {part}}, 1000, "read");
    const std::string identity = columnar.identity();
    columnar.keep_columns({"b", "d"});
    EXPECT_EQ(names_of(*columnar.schema()), (std::vector<std::string>{"b", "d"}));
    EXPECT_EQ(columnar.identity(), identity);
    BadRecords bad = columnar.policy();
    const Batch batch = columnar.open(columnar.parts()[0].segments[0], bad)->next();
    EXPECT_TRUE(batch->schema()->Equals(*columnar.schema()));
    EXPECT_EQ(batch->num_rows(), 3);
    columnar.keep_columns({});
    EXPECT_EQ(columnar.open(columnar.parts()[0].segments[0], bad)->next()->num_rows(), 3);
    const std::string out = table + "-out";
    run_flow(Flow()
                 .read({.paths = {part}})
                 .filter("c > 2")
                 .with_column("b", "concat(b, text(c))")
                 .with_column("e", "a + d")
                 .select({{"e", "e"}, {"b", "b"}})
                 .write({.out = out, .format = "csv"}));
    EXPECT_EQ(lines_of(out), "e,b\n10,y5\n9,z7\n");
    run_flow(Flow()
                 .read({.paths = {part}})
                 .group_by({}, {{"n", "count()"}})
                 .write({.out = out + "n", .format = "csv"}));
    EXPECT_EQ(lines_of(out + "n"), "n\n3\n");
  }
}

/// Where parts may be larger they are few: each an eighth of what is left, down to a 64th of all.
TEST_F(Reading, LargePartsComeFirst) {
  const auto read = file("a.txt", std::string(6'400, '\n'));
  const auto sizes = [](const Source& source) {
    std::vector<int64_t> sizes;
    for (const SourcePart& part : source.parts()) sizes.push_back(part.bytes);
    return sizes;
  };
  EXPECT_EQ(sizes(Source(read, 3'000, "read")), (std::vector<int64_t>{3'000, 3'000, 400}));
  EXPECT_EQ(sizes(Source(read, {3'000, true}, "read")), (std::vector<int64_t>{3'000, 3'000, 400}));
  const std::vector<int64_t> large = sizes(Source(read, {10, true}, "read"));
  EXPECT_EQ(large.front(), 800);
  EXPECT_EQ(large[1], 700);
  EXPECT_TRUE(std::is_sorted(large.rbegin(), large.rend()));
  EXPECT_EQ(large[large.size() - 2], 100);
  EXPECT_EQ(std::accumulate(large.begin(), large.end(), int64_t{0}), 6'400);
  EXPECT_LT(large.size(), 30u);
  // Small files stay whole, and share a part.
  FlowRead many;
  for (int i = 0; i < 64; ++i) many.paths.push_back(file(cat("b", 100 + i, ".txt"), std::string(100, '\n')).paths[0]);
  const std::vector<int64_t> shared = sizes(Source(many, {10, true}, "read"));
  EXPECT_EQ(shared.front(), 800);
  EXPECT_EQ(shared[1], 700);
  EXPECT_EQ(std::accumulate(shared.begin(), shared.end(), int64_t{0}), 6'400);
}

}  // namespace
}  // namespace shoal::flow
