// A flow runs, stage after stage. In a stage every device takes the next part that nobody took, and leaves
// what it made on the disk, under the part's number; when all are done, all read the records of all parts,
// and so know the same about the next stage. Nothing depends on who took what.
#include <algorithm>

#include "base/text.h"
#include "comm/launch.h"
#include "flow/keeping_pool.h"
#include "flow/manifest.h"
#include "flow/plan.h"
#include "flow/runs.h"
#include "flow/sample_writer.h"
#include "flow/token_writer.h"
#include "flow/work_folder.h"
#include "flow/writers.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr int64_t kBatchRows = 16'384;  // of a partition, at a time

class Runner {
 public:
  Runner(const Flow& flow, comm::Group& group, const std::function<void(const FlowProgress&)>& on_progress)
      : plan_(flow), flow_(plan_.flow), group_(group), on_progress_(on_progress) {
    memory().keep(flow.settings.memory_bytes / 16);
    const int64_t most = 8;
    if (flow.settings.part_bytes == 0 && group.size() > most &&
        flow.settings.memory_bytes / group.size() < plan_.part_bytes * most)
      throw InputError(cat(flow.place, " - memory: ", group.size(), " devices share ",
                           human_bytes(static_cast<uint64_t>(flow.settings.memory_bytes)), ", want at least ",
                           human_bytes(static_cast<uint64_t>(plan_.part_bytes * most)),
                           " for each; give more memory, or fewer devices"));
  }

  FlowReport run() {
    const std::string identity = plan_.identity();
    WorkFolder folder(group_, flow_.sink, identity, plan_.folders);
    if (folder.is_finished()) return finished();
    const size_t num_stages = plan_.stages.size();
    runs_.resize(num_stages);
    std::vector<std::vector<PartRecord>> records(num_stages);
    for (size_t s = 0; s < num_stages; ++s) {
      const Stage& stage = plan_.stages[s];
      if (stage.input >= 0) ranges_ = cut_partitions(inputs(stage), plan_.part_bytes);
      const int64_t num_parts =
          stage.input < 0 ? stage.source->num_parts() : static_cast<int64_t>(ranges_.size());
      run_stage(folder, s, num_parts);
      runs_[s].exchange = stage.exchange.get();
      for (int64_t part = 0; part < num_parts; ++part) {
        records[s].push_back(folder.load(s, part));
        for (const RunRecord& run : records[s].back().runs) runs_[s].runs.push_back(run);
      }
      group_.barrier();
      if (s + 1 == num_stages) break;  // these go with .work: a file of the output may have to be made again
      for (size_t t = 0; t < s && group_.rank() == 0; ++t)
        if (plan_.last_reader(t) == static_cast<int>(s)) folder.drop_runs(t, runs_[t].runs);
    }
    const OutputManifest manifest = summary(identity, records);
    if (group_.rank() == 0) close(folder, manifest);
    group_.barrier();
    FlowReport report = manifest.report;
    report.parts_kept = kept_;
    return report;
  }

 private:
  FlowReport finished() {
    const OutputManifest manifest =
        group_.rank() == 0 ? verify_output(flow_.sink.out) : load_output(flow_.sink.out);
    FlowReport report = manifest.report;
    report.parts_kept = report.files;
    group_.barrier();
    return report;
  }

  /// The runs that a stage reads; of a join both sides'.
  std::vector<const StageRuns*> inputs(const Stage& stage) const {
    std::vector<const StageRuns*> inputs = {&runs_[static_cast<size_t>(stage.input)]};
    if (stage.join) inputs.push_back(&runs_[static_cast<size_t>(stage.right_input)]);
    return inputs;
  }

  void run_stage(WorkFolder& folder, size_t s, int64_t num_parts) {
    const Stage& stage = plan_.stages[s];
    const std::vector<int64_t> bytes =
        stage.input < 0 ? source_bytes(*stage.source) : partition_bytes(inputs(stage), ranges_);
    FlowProgress progress{static_cast<int>(s) + 1, static_cast<int>(plan_.stages.size()), 0, num_parts, 0, 0};
    for (const int64_t b : bytes) progress.bytes_total += b;
    readers_.clear();
    if (stage.input >= 0) readers_.push_back(read_runs(folder, stage.input));
    if (stage.join) readers_.push_back(read_runs(folder, stage.right_input));
    bool has_tables = false;
    while (true) {
      const int64_t part = folder.take_part(s);
      progress.parts_done = std::min(part, num_parts);
      progress.bytes_done = 0;
      for (int64_t p = 0; p < progress.parts_done; ++p) progress.bytes_done += bytes[static_cast<size_t>(p)];
      if (on_progress_) on_progress_(progress);
      if (part >= num_parts) break;
      group_.communicator().set_activity(cat("data: stage ", s + 1, ", part ", part));
      if (comm::stop_requested())
        throw JobError("stopped on request; the same command again goes on from here");
      if (folder.find(s, part)) {
        ++kept_;
        continue;
      }
      if (!has_tables) set_tables(folder, plan_.stages[s]);
      has_tables = true;
      PartRecord record;
      do_part(folder, s, part, record);
      folder.record(s, part, record);
    }
    readers_.clear();
    group_.barrier();
  }

  std::unique_ptr<RunReader> read_runs(const WorkFolder& folder, int stage) const {
    const StageRuns& of = runs_[static_cast<size_t>(stage)];
    return std::make_unique<RunReader>(of.runs, folder.work(), of.exchange->run_schema());
  }

  void set_tables(const WorkFolder& folder, Stage& stage) const {
    for (auto& op : stage.operators)
      if (const int table = op->table_stage(); table >= 0)
        op->set_table(read_runs(folder, table)->read({}).rows);
  }

  static std::vector<int64_t> source_bytes(const Sources& source) {
    std::vector<int64_t> bytes;
    for (int64_t part = 0; part < source.num_parts(); ++part) bytes.push_back(source.part_bytes(part));
    return bytes;
  }

  /// What a stage ends in: runs for its exchange, or a file.
  class Output {
   public:
    Output(Runner& runner, WorkFolder& folder, size_t s, int64_t part, PartRecord& record)
        : runner_(runner),
          folder_(folder),
          stage_(runner.plan_.stages[s]),
          s_(s),
          part_(part),
          record_(record) {
      if (stage_.exchange)
        runs_ = stage_.exchange->make_runs(part);
      else
        open_writers();
    }
    void write(const Batch& batch) {
      record_.counts.back().first += batch->num_rows();
      if (!runs_) return write_rows(batch);
      runs_->add(batch);
      if (runs_->bytes() >= (stage_.exchange->shrinks() ? runner_.plan_.run_bytes : runner_.plan_.part_bytes))
        flush();
    }
    void finish() {
      if (runs_) flush();
      for (const auto& writer : writers_)
        for (const FileRecord& file : writer->finish()) record_.files.push_back(file);
    }

   private:
    void open_writers() {
      const Plan& plan = runner_.plan_;
      const std::vector<std::string> one = {""};
      for (const std::string& split : plan.splits.empty() ? one : plan.splits)
        writers_.push_back(make_writer(plan.flow.sink, plan.tokenizer.get(), stage_.out_schema, folder_.out(),
                                       split, part_));
    }
    /// Each row to the writer of its split, if there are some.
    void write_rows(const Batch& batch) {
      if (runner_.plan_.splits.empty()) return writers_.front()->write(batch);
      const int last = batch->num_columns() - 1;
      const auto& split = static_cast<const arrow::Int32Array&>(*batch->column(last));
      std::vector<std::vector<int64_t>> rows(writers_.size());
      for (int64_t row = 0; row < batch->num_rows(); ++row)
        rows[static_cast<size_t>(split.Value(row))].push_back(row);
      const Batch columns = value(batch->RemoveColumn(last), "split");
      for (size_t i = 0; i < writers_.size(); ++i)
        if (!rows[i].empty()) writers_[i]->write(take(columns, rows[i], "split"));
    }
    void flush() {
      const SortedRows rows = runs_->finish();
      if (rows.rows->num_rows() == 0) return;
      record_.runs.push_back(
          write_run(rows, folder_.work(), cat("s", s_, "-p", part_, "-r", record_.runs.size(), ".run")));
    }
    Runner& runner_;
    WorkFolder& folder_;
    Stage& stage_;
    size_t s_;
    int64_t part_;
    PartRecord& record_;
    std::unique_ptr<RunMaker> runs_;
    std::vector<std::unique_ptr<Writer>> writers_;  // where there is no exchange: one, or one for each split
  };

  void do_part(WorkFolder& folder, size_t s, int64_t part, PartRecord& record) {
    Stage& stage = plan_.stages[s];
    for (auto& op : stage.operators) op->begin_part(part);
    record.counts.assign(stage.operators.size() + 1, {0, 0});
    Output output(*this, folder, s, part, record);
    if (stage.input < 0) {
      read_source(folder, stage, part, output, record);
    } else if (const KeyRange& range = ranges_[static_cast<size_t>(part)]; stage.join) {
      const SortedRows left = readers_[0]->read(range);
      record.rows_read = left.rows->num_rows();
      stage.join->meet(left, readers_[1]->read(stage.join->right_range(range)), range,
                       [&](const Batch& batch) { push(stage, batch, output, record); });
    } else {
      const Exchange& exchange = *runs_[static_cast<size_t>(stage.input)].exchange;
      const Batch rows = exchange.reduce(readers_[0]->read(range), ranges_.size() == 1);
      record.rows_read = rows->num_rows();
      for (int64_t begin = 0; begin < rows->num_rows(); begin += kBatchRows)
        push(stage, rows->Slice(begin, kBatchRows), output, record);
    }
    output.finish();
  }

  void read_source(WorkFolder& folder, Stage& stage, int64_t part, Output& output, PartRecord& record) {
    record.bytes = stage.source->part_bytes(part);
    const Sources::Count count = stage.source->read(part, [&](const Batch& batch) {
      record.rows_read += batch->num_rows();
      push(stage, batch, output, record);
    });
    record.rows_in = count.rows;
    record.bad_records = count.bad.count;
    record.first_bad_record = count.bad.first;
    if (!count.bad.lines.empty() && !stage.reads_again) write_bad(folder, stage, part, count.bad, record);
  }

  static void push(Stage& stage, Batch batch, Output& output, PartRecord& record) {
    for (size_t i = 0; i < stage.operators.size(); ++i) {
      if (batch->num_rows() == 0) return;
      record.counts[i].first += batch->num_rows();
      batch = stage.operators[i]->apply(batch);
      record.counts[i].second += batch->num_rows();
    }
    if (batch->num_rows() > 0) output.write(batch);
  }

  void write_bad(WorkFolder& folder, const Stage& stage, int64_t part, const BadRecords& bad,
                 PartRecord& record) const {
    std::string name = output_name(part, "jsonl");
    name.replace(0, 4, stage.source == &plan_.source ? "bad" : cat("bad-right-", stage.exchange_step + 1));
    FileSink file(folder.out() / name);
    require(file.Write(bad.lines.data(), static_cast<int64_t>(bad.lines.size())),
            (folder.out() / name).string());
    file.place(/*starts_writing=*/true);
    record.files.push_back({name, bad.count, file.size(), file.checksum()});
  }

  OutputManifest summary(const std::string& identity,
                         const std::vector<std::vector<PartRecord>>& records) const {
    OutputManifest manifest;
    manifest.identity = identity;
    manifest.format = flow_.sink.format;
    for (const auto& field : plan_.out_schema()->fields())
      manifest.columns.emplace_back(field->name(), type_name(*field->type()));
    FlowReport& report = manifest.report;
    const std::vector<std::string> names = describe_steps(flow_);
    for (const std::string& name : names) report.steps.push_back({name, 0, 0});
    std::vector<FileRecord> bad_files;
    for (size_t s = 0; s < records.size(); ++s) {
      const Stage& stage = plan_.stages[s];
      for (const PartRecord& record : records[s]) {
        for (size_t i = stage.steps_again; i < stage.steps.size(); ++i) {
          report.steps[stage.steps[i] + 1].rows_in += record.counts[i].first;
          report.steps[stage.steps[i] + 1].rows_out += record.counts[i].second;
        }
        if (stage.exchange && !*stage.phase && !stage.join)
          report.steps[stage.exchange_step + 1].rows_in += record.counts.back().first;
        if (!stage.reads_again) count_read(report, stage, record);
        for (const FileRecord& file : record.files)
          (file.file.starts_with("bad-") ? bad_files : manifest.files).push_back(file);
        if (!stage.exchange) report.rows += record.counts.back().first;
      }
    }
    manifest.files.insert(manifest.files.end(), bad_files.begin(), bad_files.end());
    report.files = static_cast<int64_t>(manifest.files.size());
    return manifest;
  }

  /// What a stage reads, at the step that gives it.
  void count_read(FlowReport& report, const Stage& stage, const PartRecord& record) const {
    report.bad_records += record.bad_records;  // 0 of those that read no source
    if (report.first_bad_record.empty()) report.first_bad_record = record.first_bad_record;
    const bool is_right_side = stage.input < 0 && stage.source != &plan_.source;
    if (stage.join || is_right_side) return;  // a join counts what goes in at its left, and what comes out
    if (stage.input >= 0) {
      const Stage& before = plan_.stages[static_cast<size_t>(stage.input)];
      if (!*before.phase) report.steps[before.exchange_step + 1].rows_out += record.rows_read;
      return;
    }
    report.steps[0].rows_in += record.rows_in + record.bad_records;
    report.steps[0].rows_out += record.rows_read;
  }

  void close(const WorkFolder& folder, const OutputManifest& manifest) const {
    const std::string page = report_page(manifest);
    write_text(folder.out() / "report.html", page);
    std::vector<std::string> wanted = {"report.html"};
    std::vector<std::filesystem::path> written;
    for (const FileRecord& file : manifest.files) {
      wanted.push_back(file.file);
      written.push_back(folder.out() / file.file);
    }
    sync_files(written);  // only here: most of it is on the disk already
    folder.close(manifest_text(folder, manifest), wanted);
  }

  std::string manifest_text(const WorkFolder& folder, const OutputManifest& manifest) const {
    if (plan_.tokenizer) return token_manifest(manifest, *plan_.tokenizer, folder.out());
    if (flow_.sink.format != "samples") return to_json(manifest);
    return samples_manifest(manifest, flow_.sink, *plan_.out_schema(), folder.out());
  }

  Plan plan_;
  const Flow& flow_;  // of the plan
  comm::Group& group_;
  const std::function<void(const FlowProgress&)>& on_progress_;
  std::vector<StageRuns> runs_;                      // by stage
  std::vector<KeyRange> ranges_;                     // the partitions that the stage at hand reads
  std::vector<std::unique_ptr<RunReader>> readers_;  // of its inputs
  int64_t kept_ = 0;
};

}  // namespace
}  // namespace shoal::flow

namespace shoal {

FlowReport run_flow(const Flow& flow, comm::Communicator& communicator,
                    const std::function<void(const FlowProgress&)>& on_progress) {
  static const std::function<void(const FlowProgress&)> kSilent;
  comm::Group group(communicator);
  return flow::Runner(flow, group, group.rank() == 0 ? on_progress : kSilent).run();
}

FlowReport run_flow(const Flow& flow, const FlowOptions& options) {
  if (options.devices < 1 || options.devices > comm::kMaxDevices)
    throw InputError(cat(flow.place, " - devices: got ", options.devices, ", want 1 to ", comm::kMaxDevices));
  FlowReport report;
  comm::run_threads(options.devices, [&](comm::Communicator& communicator) {
    FlowReport mine = run_flow(flow, communicator, options.on_progress);
    if (communicator.rank() == 0) report = std::move(mine);
  });
  return report;
}

}  // namespace shoal
