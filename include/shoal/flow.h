// Tables from files to files, on any number of devices, the same bytes for every number of them: read, then
// steps, then write.
//
//   shoal::Flow flow;
//   flow.read({.paths = {"reviews/*.jsonl.gz"}})
//       .filter("length(text) > 10 and lang == 'en'")
//       .map("shout", [](const std::shared_ptr<arrow::RecordBatch>& rows) { return shout(rows); })
//       .group_by({"author"}, {{"reviews", "count()"}, {"stars", "mean(stars)"}})
//       .sort({"-reviews"})
//       .write({.out = "authors", .format = "parquet"});
//   shoal::FlowReport report = shoal::run_flow(flow, {.devices = 2});
//
// In CMake: find_package(Shoal REQUIRED COMPONENTS flow), Shoal::flow; LibTorch is not needed. Functions of
// one's own include Arrow's headers, which come with it.
//
// A Flow is data: nothing is read before run_flow(). What each step promises, the order of rows and the text
// of expressions are in docs/data_engine.md. Errors: InputError for what cannot be used, before any work
// where it can be known then; JobError for the rest.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace shoal {

namespace comm {
class Communicator;
}

/// Where rows come from.
struct FlowRead {
  std::vector<std::string>
      paths;  // files, folders (read recursively), globs in the file's name; the order given, in each by path
  std::string format;  // text, jsonl, csv, tsv, parquet, ipc, fastq, fasta, images (PNG and JPEG); empty: by
                       // the suffix (.gz and .zst go off first)
  std::vector<std::pair<std::string, std::string>>
      columns;         // name and type (int, float, bool, text) of jsonl, csv, tsv; empty: guessed from the
                       // first 1,000 records of the first file
  bool header = true;  // of csv and tsv: the first line has the names
  std::string bad_records = "stop";  // stop, skip, or collect (into bad-*.jsonl beside the output)
};

/// One more source of a mixture: its columns are those of the first, in any order.
struct FlowSource {
  FlowRead read;
  double weight = 1;  // how often each row is taken: 2.25 is twice, and of a quarter of the rows a third time
};

struct FlowAggregate {
  std::string name;  // of the new column
  std::string call;  // count(), count(x), sum(x), mean(x), min(x), max(x), count_distinct(x),
                     // approx_quantile(x, 0.5); x: a column
};

/// One column that window() adds: row_number(), lag(x), running_sum(x).
struct FlowWindowColumn {
  std::string name;
  std::string call;
};

struct FlowJoin {
  FlowRead right;
  std::vector<std::string> on;  // columns that both have; null equals nothing
  std::string kind = "inner";   // inner, left, right, outer
};

/// One tensor of each sample that format samples writes, made of a column (docs/data_engine.md, "Samples").
struct FlowField {
  std::string name;
  std::vector<std::string> columns;  // its numbers: of one column, or one from each of several; empty: `name`
  std::string dtype;                 // U8, I64, F32...; empty: as the column has it
  std::optional<std::vector<int64_t>> shape;  // the first may be -1: it varies; none: [] for numbers, [-1] for
                                              // lists, bytes and text
  std::string order;                          // of pixels: CHW (channels first) or HWC, what `shape` says
  std::vector<std::string> classes;           // of text: a name becomes its place among these
};

struct FlowWrite {
  std::string out;   // a folder, or s3://BUCKET/PREFIX: new, empty, or unfinished work of the same flow
  std::string work;  // of s3://: the folder of this machine for what is kept until all is done; empty:
                     // BUCKET-PREFIX.work, with - for each slash
  /// parquet, ipc, jsonl, csv, tsv, text (one column of text), tokens (a token store, docs/token_store.md),
  /// tokenizer (byte pairs learned from the text: tokenizer.json), samples (a sample store,
  /// docs/sample_store.md)
  std::string format = "parquet";
  // of tokens and tokenizer
  std::string column = "text";
  std::string tokenizer = "bytes";  // or a file or folder that has one (docs/data_engine.md)
  int64_t vocabulary = 0;           // tokens to learn, special ones among them
  std::vector<std::string> special = {"<|endoftext|>"};  // the first ends a document
  std::string pattern = "gpt-2";                         // how text is cut into words before
  // of samples
  std::vector<FlowField> fields;
  std::string key;  // a column of text or whole numbers, another value in each row; empty: the row's place
};

/// Settings of the run: other ones may cut the work elsewhere, and so give other files of the same rows, and
/// other last bits of sums.
struct FlowSettings {
  int64_t memory_bytes = int64_t{2} << 30;  // of all devices together; at most eight devices share it
  int64_t part_bytes = 0;                   // of input in one part; 0: memory / 64, from 64 KB to 32 MiB
  uint64_t seed = 0;                        // of the draws of a mixture
};

/// A function of the user's own: rows in, rows out, as many as it likes; the same for the same rows, whatever
/// else there is.
using FlowFunction =
    std::function<std::shared_ptr<arrow::RecordBatch>(const std::shared_ptr<arrow::RecordBatch>&)>;

namespace flow_steps {
struct Filter {
  std::string expression;
};
struct Select {
  std::vector<std::pair<std::string, std::string>> columns;
};  // name, expression
struct WithColumn {
  std::vector<std::pair<std::string, std::string>> columns;
};  // in order: each sees those before it
struct FlatMap {
  std::string column, as, by;
};
struct Map {
  std::string name;
  FlowFunction function;
  std::shared_ptr<arrow::Schema> schema;
};
struct Sample {
  double fraction;
  uint64_t seed;
};
struct Distinct {
  std::vector<std::string> by;
};
/// Of texts that are nearly alike the first is kept, by MinHash: see docs/data_engine.md.
struct NearDuplicates {
  std::string column;
  std::string shingles = "words:5";  // or "characters:N"
  int64_t bands = 14, rows = 8;      // of a band; texts that share a whole one are candidates
  double similarity = 0;             // candidates estimated to be less alike are kept; 0: none is looked at
  uint64_t seed = 0;
};
struct GroupBy {
  std::vector<std::string> by;
  std::vector<FlowAggregate> aggregates;
};
struct Sort {
  std::vector<std::string> by;
};  // "-x": descending
/// Any order, drawn by the seed: of the hash of these columns, or, without, of the row's place.
struct Shuffle {
  std::vector<std::string> by;
  uint64_t seed = 0;
};
/// The last step: each row goes into the folder of one part, drawn by the seed and the hash of these columns.
struct Split {
  std::vector<std::string> by;
  std::vector<std::pair<std::string, double>> parts;  // their names and shares, 1 in all
  uint64_t seed = 0;
};
struct Window {
  std::vector<std::string> by, order;
  std::vector<FlowWindowColumn> columns;
};
}  // namespace flow_steps

struct FlowStep {
  std::string place;  // for messages: "words.toml:12 - filter"
  std::variant<flow_steps::Filter, flow_steps::Select, flow_steps::WithColumn, flow_steps::FlatMap,
               flow_steps::Map, flow_steps::Sample, flow_steps::Distinct, flow_steps::NearDuplicates,
               flow_steps::GroupBy, flow_steps::Sort, flow_steps::Shuffle, flow_steps::Split,
               flow_steps::Window, FlowJoin>
      what;
};

/// A pipeline as data. Each call adds a step and returns the same Flow.
class Flow {
 public:
  Flow& read(FlowRead, double weight = 1);
  /// One more source: its rows come behind those of the sources before. shuffle() mixes them.
  Flow& mix(FlowSource);
  Flow& filter(std::string expression);
  Flow& select(std::vector<std::pair<std::string, std::string>> names_and_expressions);
  Flow& with_column(std::string name, std::string expression);
  /// A row for each piece of a column of text: by = "words" (runs of what is not white), "lines",
  /// "split:SEPARATOR" or "kmers:K". The pieces stand in `as`; the other columns are repeated.
  Flow& flat_map(std::string column, std::string by, std::string as);
  /// `schema` is what the function gives; null: what it takes. The name stands for the function where a run
  /// goes on: another function needs another name.
  Flow& map(std::string name, FlowFunction function, std::shared_ptr<arrow::Schema> schema = nullptr);
  Flow& sample(double fraction, uint64_t seed = 0);
  Flow& distinct(std::vector<std::string> by);
  Flow& near_duplicates(flow_steps::NearDuplicates);
  Flow& group_by(std::vector<std::string> by, std::vector<FlowAggregate> aggregates);
  Flow& sort(std::vector<std::string> by);
  Flow& shuffle(uint64_t seed = 0, std::vector<std::string> by = {});
  Flow& split(std::vector<std::string> by, std::vector<std::pair<std::string, double>> parts,
              uint64_t seed = 0);
  Flow& join(FlowJoin);
  Flow& window(std::vector<std::string> by, std::vector<std::string> order,
               std::vector<FlowWindowColumn> columns);
  Flow& write(FlowWrite);

  FlowRead source;
  double weight = 1;  // of source
  std::vector<FlowSource> mixed;
  std::vector<FlowStep> steps;
  FlowWrite sink;
  FlowSettings settings;
  std::string place = "flow";  // for messages: "words.toml"

 private:
  Flow& add(const char* name, decltype(FlowStep::what) what);
};

/// What went into a step and came out of it.
struct FlowStepCount {
  std::string step;  // "filter length(text) > 10"
  int64_t rows_in = 0, rows_out = 0;
};

struct FlowReport {
  std::vector<FlowStepCount> steps;  // read first
  int64_t rows = 0;                  // written
  int64_t files = 0;
  int64_t bad_records = 0;
  std::string first_bad_record;  // "reviews.csv, byte 812: column stars: got five, want a whole number"
  int64_t parts_kept = 0;        // that an earlier, unfinished run had done
};

struct FlowProgress {
  int stage = 0, num_stages = 0;
  int64_t parts_done = 0, num_parts = 0;
  int64_t bytes_done = 0, bytes_total = 0;  // of the stage's input
};

struct FlowOptions {
  int devices = 1;
  std::function<void(const FlowProgress&)> on_progress = {};  // on rank 0's thread
};

/// Runs it on threads of this process, each a device.
FlowReport run_flow(const Flow&, const FlowOptions& = {});
/// Collective: runs it on all devices of a World (shoal/world.h), of a program that trains too:
/// run_flow(flow, world.communicator()). The report is the same on all; progress is told on rank 0.
FlowReport run_flow(const Flow&, comm::Communicator&,
                    const std::function<void(const FlowProgress&)>& on_progress = {});

/// The plan as text: stages, parts, exchanges, bytes expected. Reads the heads of the input only.
std::string explain(const Flow&);

}  // namespace shoal
