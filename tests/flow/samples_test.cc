// Flows that write samples.
#include <arrow/io/file.h>
#include <arrow/ipc/api.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "data/sample_shards.h"
#include "flow/arrow.h"
#include "flow/damage.h"
#include "flow/parse_flow.h"
#include "flow/pictures.h"
#include "flow/tables.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::flow {
namespace {

using data::SampleShards;
using data::Split;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class T>
std::vector<T> numbers_of(std::span<const std::byte> bytes) {
  std::vector<T> numbers(bytes.size() / sizeof(T));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

/// A file of Arrow's, of one batch.
template <class... Arrays>
void write_ipc(const std::filesystem::path& path, const SchemaPtr& schema, const Arrays&... arrays) {
  std::filesystem::create_directories(path.parent_path());
  const std::vector<ArrayPtr> columns = {arrays...};
  const auto file = value(arrow::io::FileOutputStream::Open(path.string()), "test");
  const auto writer = value(arrow::ipc::MakeFileWriter(file, schema), "test");
  require(writer->WriteRecordBatch(*arrow::RecordBatch::Make(schema, columns[0]->length(), columns)), "test");
  require(writer->Close(), "test");
  require(file->Close(), "test");
}

template <class Builder, class T>
ArrayPtr array_of(const std::vector<T>& values) {
  Builder builder;
  for (const T& one : values) require(builder.Append(one), "test");
  return value(builder.Finish(), "test");
}

/// One list of int16 for each row.
ArrayPtr lists_of(const std::vector<std::vector<int16_t>>& rows) {
  const auto values = std::make_shared<arrow::Int16Builder>();
  arrow::ListBuilder builder(arrow::default_memory_pool(), values);
  for (const auto& row : rows) {
    require(builder.Append(), "test");
    require(values->AppendValues(row), "test");
  }
  return value(builder.Finish(), "test");
}

class Samples : public testing::Test {
 protected:
  Flow flow(const std::string& in, FlowWrite write) {
    Flow flow;
    flow.read({.paths = {(temp_ / in).string()}});
    flow.settings.part_bytes = 2048;
    write.out = (temp_ / write.out).string();
    write.format = "samples";
    flow.write(std::move(write));
    return flow;
  }
  std::string refusal(const std::string& in, FlowWrite write) {
    write.out = "refused";
    std::filesystem::remove_all(temp_ / "refused");
    try {
      run_flow(flow(in, std::move(write)));
    } catch (const InputError& error) {
      return error.what();
    }
    return "nothing thrown";
  }
  TempFolder temp_;
};

TEST_F(Samples, ATableOfNumbersAndText) {
  std::string lines = "id,a,b,c,word,day\n";
  for (int i = 0; i < 300; ++i)
    lines += std::to_string(i) + "," + std::to_string(i * 0.37) + "," + std::to_string(i % 200 - 100) + "," +
             (i % 3 ? "true" : "false") + "," + std::string(static_cast<size_t>(i % 5), 'x') + "y," +
             (i % 7 < 2 ? "sun" : "rain") + "\n";
  write_file(temp_ / "in/a.csv", lines);
  const FlowWrite write{.out = "store",
                        .fields = {{.name = "x", .columns = {"a", "b", "c"}, .dtype = "F32"},
                                   {.name = "a"},
                                   {.name = "small", .columns = {"b"}, .dtype = "I8", .shape = {{1}}},
                                   {.name = "word"},
                                   {.name = "day", .dtype = "U8", .classes = {"rain", "sun"}}},
                        .key = "id"};
  std::map<std::string, std::string> first;
  for (const int devices : {1, 2, 3, 4, 7}) {
    FlowWrite of = write;
    of.out = "store" + std::to_string(devices);
    Flow f = flow("in", of);
    f.sort({"-b", "id"}).split({"id"}, {{"train", 0.8}, {"validation", 0.2}}, 3);
    const FlowReport report = run_flow(f, {.devices = devices});
    EXPECT_EQ(report.rows, 300);
    const auto files = contents(temp_ / of.out);
    if (devices == 1) first = files;
    EXPECT_EQ(files, first) << devices;
    EXPECT_EQ(run_flow(f).parts_kept, report.files);  // finished: compared
  }
  EXPECT_GT(first.size(), 8u);
  const SampleShards store(temp_ / "store1");
  store.verify();
  const auto& fields = store.manifest().fields;
  EXPECT_EQ(data::type_text(fields[0].type, fields[0].shape), "F32 [3]");
  EXPECT_EQ(data::type_text(fields[1].type, fields[1].shape), "F64 []");
  EXPECT_EQ(data::type_text(fields[2].type, fields[2].shape), "I8 [1]");
  EXPECT_EQ(data::type_text(fields[3].type, fields[3].shape), "U8 [-1]");
  EXPECT_EQ(fields[3].longest, 5);
  EXPECT_EQ(fields[4].classes, (std::vector<std::string>{"rain", "sun"}));
  std::set<int> seen;
  for (const Split split : data::kSplits) {
    int before = 1000;
    for (int64_t s = 0; s < store.num_samples(split); ++s) {
      const auto sample = store.sample(split, s);
      const int i = std::stoi(std::string(sample.key));
      EXPECT_TRUE(seen.insert(i).second);
      EXPECT_LE(i % 200 - 100, before);  // in the flow's order
      before = i % 200 - 100;
      const double a = std::stod(std::to_string(i * 0.37));
      EXPECT_EQ(numbers_of<float>(sample.values[0].bytes),
                (std::vector{static_cast<float>(a), static_cast<float>(i % 200 - 100), i % 3 ? 1.0F : 0.0F}));
      EXPECT_EQ(numbers_of<double>(sample.values[1].bytes), std::vector{a});
      EXPECT_EQ(numbers_of<int8_t>(sample.values[2].bytes), std::vector{static_cast<int8_t>(i % 200 - 100)});
      EXPECT_EQ(text_of(sample.values[3].bytes), std::string(static_cast<size_t>(i % 5), 'x') + "y");
      EXPECT_EQ(sample.values[3].length, i % 5 + 1);
      EXPECT_EQ(numbers_of<uint8_t>(sample.values[4].bytes), std::vector{static_cast<uint8_t>(i % 7 < 2)});
    }
  }
  EXPECT_EQ(seen.size(), 300u);
  EXPECT_GT(store.num_samples(Split::kValidation), 30);
  const std::string shown = store.describe();
  EXPECT_NE(shown.find("day: U8 [], of 2 classes: rain, sun"), std::string::npos) << shown;
}

TEST_F(Samples, Pictures) {
  write_file(temp_ / "in/cat/1.png", png_of(4, 3, PNG_FORMAT_RGB));
  write_file(temp_ / "in/dog/2.png", png_of(4, 3, PNG_FORMAT_RGB));
  FlowWrite write{.out = "store",
                  .fields = {{.name = "image", .columns = {"pixels"}, .shape = {{3, 3, 4}}, .order = "CHW"},
                             {.name = "pixels", .shape = {{3, 4, 3}}, .order = "HWC"},
                             {.name = "label", .classes = {"cat", "dog"}}},
                  .key = "path"};
  Flow f = flow("in", write);
  f.source.format = "images";
  run_flow(f, {.devices = 2});
  const SampleShards store(temp_ / "store");
  ASSERT_EQ(store.num_samples(Split::kTrain), 2);
  EXPECT_EQ(store.num_samples(Split::kValidation), 0);
  const std::string pixels = ramp(36);
  std::string planes;
  for (size_t c = 0; c < 3; ++c)
    for (size_t y = 0; y < 3; ++y)
      for (size_t x = 0; x < 4; ++x) planes += pixels[(y * 4 + x) * 3 + c];
  for (int64_t i = 0; i < 2; ++i) {
    const auto sample = store.sample(Split::kTrain, i);
    EXPECT_EQ(sample.key, (temp_ / (i == 0 ? "in/cat/1.png" : "in/dog/2.png")).string());
    EXPECT_EQ(text_of(sample.values[0].bytes), planes);
    EXPECT_EQ(text_of(sample.values[1].bytes), pixels);
    EXPECT_EQ(numbers_of<int64_t>(sample.values[2].bytes), std::vector{i});
  }
  // What does not fit names the picture.
  const auto picture_refusal = [&](const FlowWrite& of) {
    Flow other = flow("in", of);
    other.source.format = "images";
    try {
      run_flow(other);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  const std::string first = (temp_ / "other").string() + " - sample " + (temp_ / "in/cat/1.png").string();
  write.out = "other";
  write.fields.resize(1);
  write.fields[0].shape = {{3, 4, 3}};  // as many bytes
  EXPECT_EQ(picture_refusal(write), first +
                                        ", field image: got 4 x 3 pixels of 3 channels, want 3 x 4 pixels of "
                                        "3 channels; keep those that fit "
                                        "by a filter before");
  write.fields = {{.name = "label", .classes = {"dog"}}};
  write.out = "another";
  EXPECT_EQ(picture_refusal(write),
            (temp_ / "another").string() + " - sample " + (temp_ / "in/cat/1.png").string() +
                ", field label: got cat, want one of dog; add it to classes, or leave such rows out before");
  write.fields = {{.name = "pixels", .shape = {{3, 4, 3}}}};
  EXPECT_EQ(
      picture_refusal(write),
      "flow - write, field pixels: got U8 [3, 4, 3], want order with it: CHW (channels first, as models take "
      "pictures) or HWC (as pixels lie in a file)");
}

TEST_F(Samples, Lists) {
  const auto item = arrow::field("item", arrow::int16());
  const auto schema =
      arrow::schema({arrow::field("one", arrow::list(item)), arrow::field("two", arrow::list(item)),
                     arrow::field("name", arrow::utf8())});
  write_ipc(temp_ / "in/a.arrow", schema, lists_of({{1, 2, 3}, {}, {-4, 5}}),
            lists_of({{1, 2}, {3, 4}, {5, 6}}), array_of<arrow::StringBuilder, std::string>({"a", "b", "c"}));
  const std::vector<FlowField> fields = {{.name = "one", .dtype = "F32"},
                                         {.name = "pairs", .columns = {"two"}, .shape = {{-1, 2}}},
                                         {.name = "two", .dtype = "I64", .shape = {{2, 1}}}};
  run_flow(flow("in", {.out = "store", .fields = fields}));
  const SampleShards store(temp_ / "store");
  ASSERT_EQ(store.num_samples(Split::kTrain), 3);
  EXPECT_EQ(store.manifest().fields[0].longest, 3);
  EXPECT_EQ(store.manifest().fields[1].longest, 1);
  EXPECT_EQ(store.sample(Split::kTrain, 0).key, "train-00000:0");
  EXPECT_EQ(store.sample(Split::kTrain, 1).values[0].length, 0);
  const auto last = store.sample(Split::kTrain, 2);
  EXPECT_EQ(numbers_of<float>(last.values[0].bytes), (std::vector{-4.0F, 5.0F}));
  EXPECT_EQ(numbers_of<int16_t>(last.values[1].bytes), (std::vector<int16_t>{5, 6}));
  EXPECT_EQ(last.values[1].length, 1);
  EXPECT_EQ(numbers_of<int64_t>(last.values[2].bytes), (std::vector<int64_t>{5, 6}));

  const std::string out = (temp_ / "refused").string();
  EXPECT_EQ(refusal("in", {.fields = {{.name = "one", .shape = {{3}}}}, .key = "name"}),
            out +
                " - sample b, field one: got a list of 0, want 3; say another shape, or leave such rows out "
                "before");
  EXPECT_EQ(refusal("in", {.fields = {{.name = "one", .shape = {{-1, 2}}}}, .key = "name"}),
            out +
                " - sample a, field one: got a list of 3, want a multiple of 2; say another shape, or leave "
                "such rows out "
                "before");
  EXPECT_EQ(refusal("in", {.fields = {{.name = "one", .dtype = "U8"}}, .key = "name"}),
            out +
                " - sample c, field one: got -4, want a number that U8 can hold; say another dtype, or "
                "change the column "
                "before");
}

TEST_F(Samples, RowsThatDoNotFitAreSaid) {
  write_file(temp_ / "in/a.csv", "name,n,x\na,1,0.5\nb,,1\nb,300,1.5\n");
  const std::string out = (temp_ / "refused").string();
  EXPECT_EQ(refusal("in", {.fields = {{.name = "n"}}, .key = "name"}),
            out +
                " - sample b, field n: got null in column n, want a value; leave such rows out by filter = "
                "\"n is not "
                "null\", or fill them by with_column and coalesce");
  EXPECT_EQ(refusal("in", {.fields = {{.name = "x", .dtype = "I32"}}}),
            out +
                " - sample train-00000:0, field x: got 0.5, want a number that I32 can hold; say another "
                "dtype, or change "
                "the column before");
  EXPECT_EQ(refusal("in", {.fields = {{.name = "x"}}, .key = "n"}),
            out +
                " - sample train-00000:1: got no key in column n, want 1 to 4096 bytes; leave such rows out "
                "before");
  EXPECT_EQ(refusal("in", {.fields = {{.name = "x"}}, .key = "name"}),
            out +
                " - sample b: got a second one of this key, want one; name another column as key in [write], "
                "or none");
  EXPECT_EQ(refusal("in", {.fields = {{.name = "name", .shape = {{2}}}}}),
            out +
                " - sample train-00000:0, field name: got 1 bytes, want 2; say another shape, or leave such "
                "rows out "
                "before");
}

TEST_F(Samples, FieldsThatCannotBeAreSaidBeforeAnyWork) {
  write_file(temp_ / "in/a.csv", "name,n,x\na,1,0.5\n");
  const auto said = [&](FlowField field) { return refusal("in", {.fields = {std::move(field)}}); };
  const std::string place = "flow - write, field n: ";
  EXPECT_EQ(refusal("in", {}),
            "flow - write: fields: got none, want at least one, as in [write.fields] label = {}");
  EXPECT_EQ(said({.name = "y"}), "flow - write, field y: unknown column: got y, want one of name, n, x");
  EXPECT_EQ(said({.name = "n", .dtype = "int"}),
            place + "dtype: got int, want one of U8, I8, I16, I32, I64, F16, BF16, F32, F64, BOOL");
  EXPECT_EQ(said({.name = "n", .shape = {{2}}}), place + "got I64 [2], want [] or [1]: a row has 1 number");
  EXPECT_EQ(
      said({.name = "n", .shape = {{2, -1}}}),
      "flow - write - field n: got I64 [2, -1], want dims of at least 1, or -1 for a first dim that varies");
  EXPECT_EQ(said({.name = "n", .columns = {"n", "x"}}),
            place + "dtype: got none for columns of several types, want one, as in dtype = \"F32\"");
  EXPECT_EQ(said({.name = "n", .columns = {"n", "name"}, .dtype = "F32"}),
            place + "column name: got text, want numbers in each of several columns");
  EXPECT_EQ(said({.name = "n", .classes = {"a"}}),
            place + "column n: got int64, want one column of text beside classes");
  EXPECT_EQ(said({.name = "n", .columns = {"name"}, .classes = {"a", "a"}}),
            place + "classes: got a name twice, want each once");
  EXPECT_EQ(said({.name = "n", .columns = {"name"}, .dtype = "F32", .classes = {"a", "b"}}),
            place + "got F32 [], want I64, or another dtype that numbers 2 classes");
  EXPECT_EQ(said({.name = "n", .columns = {"name"}, .dtype = "F32"}),
            place + "got F32 [-1], want U8: column name has bytes");
  EXPECT_EQ(said({.name = "n", .order = "WHC"}), place +
                                                     "order: got WHC, want CHW (channels first, as models "
                                                     "take pictures) or HWC (as pixels lie in a file)");
  EXPECT_EQ(refusal("in", {.fields = {{.name = "n"}}, .key = "x"}),
            "flow - write: key: column x: got float64, want text or whole numbers");
  EXPECT_EQ(refusal("in", {.fields = {{.name = "n"}, {.name = "n"}}}),
            "flow - write - field n: got two of this name, want one");
  Flow f = flow("in", {.out = "refused", .fields = {{.name = "n"}}});
  f.split({"n"}, {{"train", 0.5}, {"test", 0.5}});
  EXPECT_ERROR(
      run_flow(f), InputError,
      "flow - step 1, split: parts: got test, want train and validation, the splits of a sample store");
  f = flow("in", {.out = "refused", .fields = {{.name = "n"}}});
  f.sink.out = "s3://bucket/store";
  EXPECT_ERROR(run_flow(f), InputError,
               "flow - write: out: got s3://bucket/store, want a folder of this machine: what reads sample "
               "stores reads "
               "files alone");
  f.sink.out = (temp_ / "refused").string();
  f.sink.format = "csv";
  EXPECT_ERROR(run_flow(f), InputError,
               "flow - write: fields: got some for format csv, want format = \"samples\" with them");
}

TEST_F(Samples, PipelineFile) {
  write_file(temp_ / "in/a.csv", "name,n,x\na,1,0.5\nb,2,0.25\n");
  write_file(temp_ / "p.toml", "[read]\npaths = [\"" + (temp_ / "in").string() + "\"]\n[[step]]\n" +
                                   "with_column = { code = \"if(name == 'b', 7, 8)\" }\n[write]\nout = \"" +
                                   (temp_ / "s").string() +
                                   "\"\nformat = \"samples\"\nkey = \"name\"\n[write.fields]\n"
                                   "v = { column = [\"n\", \"x\"], dtype = \"F32\" }\n"
                                   "name = { classes = [\"b\", \"a\"], shape = [1] }\nx = {}\ncode = {}\n");
  run_flow(load_flow(temp_ / "p.toml"));
  const SampleShards store(temp_ / "s");
  const auto& fields = store.manifest().fields;
  ASSERT_EQ(fields.size(), 4u);
  EXPECT_EQ(fields[0].name, "v");  // as they stand in the file
  EXPECT_EQ(fields[1].shape, std::vector<int64_t>{1});
  EXPECT_EQ(numbers_of<float>(store.sample(Split::kTrain, 1).values[0].bytes), (std::vector{2.0F, 0.25F}));
  EXPECT_EQ(numbers_of<int64_t>(store.sample(Split::kTrain, 1).values[1].bytes), std::vector<int64_t>{0});
  EXPECT_EQ(numbers_of<int64_t>(store.sample(Split::kTrain, 1).values[3].bytes), std::vector<int64_t>{7});
  write_file(temp_ / "q.toml", read_file(temp_ / "p.toml") + "w = { colum = \"n\" }\n");
  EXPECT_ERROR(load_flow(temp_ / "q.toml"), InputError,
               (temp_ / "q.toml").string() + ":5 - write, fields, w: unknown key: got colum, want column");
}

TEST_F(Samples, EveryDamageIsFound) {
  std::string lines = "name,n\n";
  for (int i = 0; i < 200; ++i) lines += "s" + std::to_string(i) + "," + std::to_string(i) + "\n";
  write_file(temp_ / "in/a.csv", lines);
  run_flow(flow("in", {.out = "store", .fields = {{.name = "n"}, {.name = "name"}}, .key = "name"}));
  expect_damage_is_found(temp_ / "store", 10, 20, [&] { SampleShards(temp_ / "store").verify(); });
}

}  // namespace
}  // namespace shoal::flow
