// shoal data PIPELINE.toml: folders of text to a token store, or tables to tables, on one or more devices.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/data_flow.h"
#include "cli/usage.h"
#include "comm/launch.h"
#include "data/build_store.h"
#include "flow/parse_flow.h"
#include "shoal/error.h"
#include "shoal/world.h"

namespace shoal::cli {
namespace {

struct Options {
  std::string file;
  std::vector<std::string> inputs;
  std::string out, work;
  int devices = 1;
  bool explain = false;
  std::string shown, verified;
};

data::Pipeline pipeline_of(const Options& options) {
  data::Pipeline pipeline = data::load_pipeline(options.file);
  if (!options.inputs.empty()) pipeline.inputs = options.inputs;
  if (!options.out.empty()) pipeline.out = options.out;
  return pipeline;
}

/// How far the work is, on stderr: one line that changes on a terminal, a new line now and then elsewhere.
class Meter {
 public:
  void operator()(const data::Progress& progress) {
    const Clock::time_point now = Clock::now();
    if (progress.phase != phase_) {
      phase_ = progress.phase;
      phase_begin_ = now;
      next_ = now + interval_;
    }
    const bool is_last = progress.bytes_done == progress.bytes_total;
    if (now < next_ && !is_last) return;
    next_ = now + interval_;
    const double seconds = std::chrono::duration<double>(now - phase_begin_).count();
    const double rate = seconds > 0 ? static_cast<double>(progress.bytes_done) / seconds : 0;
    const double left = rate > 0 ? static_cast<double>(progress.bytes_total - progress.bytes_done) / rate : 0;
    std::fprintf(stderr, "%s%s %s of %s, %.0f MB/s, %.0f s left%s", is_terminal_ ? "\r\033[K" : "",
                 verb(progress.phase), human_bytes(static_cast<uint64_t>(progress.bytes_done)).c_str(),
                 human_bytes(static_cast<uint64_t>(progress.bytes_total)).c_str(), rate / 1e6, left,
                 is_terminal_ && !is_last ? "" : "\n");
  }

 private:
  using Clock = std::chrono::steady_clock;

  static const char* verb(data::Progress::Phase phase) {
    switch (phase) {
      case data::Progress::Phase::kReading:
        return "reading ";
      case data::Progress::Phase::kChecking:
        return "checking";
      case data::Progress::Phase::kWriting:
        return "writing ";
    }
    return "";
  }

  const bool is_terminal_ = is_terminal(STDERR_FILENO);
  const std::chrono::milliseconds interval_{is_terminal_ ? 200 : 10'000};
  data::Progress::Phase phase_ = data::Progress::Phase::kReading;
  Clock::time_point phase_begin_ = Clock::now(), next_ = phase_begin_ + interval_;
};

void print(const data::BuildReport& report, const std::string& out) {
  const data::Manifest& manifest = report.manifest;
  std::printf("%s: %s\n", out.c_str(),
              report.shards_written == 0
                  ? "already complete, every checksum holds"
                  : cat(report.shards_written, " shards written, ", report.shards_kept, " kept").c_str());
  for (data::Split split : data::kSplits) {
    const data::Manifest::SplitPart& part = manifest[split];
    std::printf("  %-10s %lld documents, %lld tokens in %zu shards, unigram entropy %.4f nats\n",
                std::string(split_name(split)).c_str(), static_cast<long long>(part.documents),
                static_cast<long long>(part.tokens), part.shards.size(), part.unigram_entropy);
  }
  const data::Skipped& skipped = report.skipped;
  std::printf("  skipped    %lld empty, %lld binary, %lld above max_file_bytes, %lld beyond max_bytes\n",
              static_cast<long long>(skipped.empty), static_cast<long long>(skipped.not_text),
              static_cast<long long>(skipped.too_large), static_cast<long long>(skipped.over_limit));
}

int run(const Options& options, const Invocation& invocation) {
  if (options.devices < 1 || options.devices > comm::kMaxDevices) {
    throw InputError(cat("data - --devices: got ", options.devices, ", want 1 to ", comm::kMaxDevices));
  }
  if (options.file.empty())
    throw InputError("data - PIPELINE: got none, want a TOML file; shoal data --help says more");
  if (flow::is_flow_file(options.file))
    return run_flow_file(
        {options.file, options.inputs, options.out, options.work, options.devices, options.explain},
        invocation);
  if (!options.work.empty())
    throw InputError(
        cat(options.file, " - --work: got ", options.work,
            " for a pipeline for tokens, want a flow, with a [read] table (docs/data_engine.md)"));
  if (options.explain)
    throw InputError(cat(
        options.file,
        " - --explain: got a pipeline for tokens, want a flow, with a [read] table (docs/data_engine.md)"));
  const data::Pipeline pipeline = pipeline_of(options);
  if (options.devices > 1 && !comm::is_launched()) {
    return comm::launch(
        {options.devices, {invocation.argv, invocation.argv + invocation.argc}, "shoal data"});
  }
  return guarded_main(invocation.argc, invocation.argv, [&](World& world) {
    Meter meter;
    comm::Group group(world.communicator());
    const data::BuildReport report = data::build_store(group, pipeline, std::ref(meter));
    if (world.rank() == 0) print(report, pipeline.out.string());
  });
}

}  // namespace

void add_data(CLI::App& app, Invocation& invocation) {
  CLI::App* data = app.add_subcommand(
      "data",
      "Turn folders of text into a token store, or tables into tables; run it again after an "
      "interruption and it goes on from there");
  const auto options = std::make_shared<Options>();
  data->add_option("PIPELINE", options->file, "what to read and write: a TOML file");
  data->add_option("--input", options->inputs,
                   "a folder or file to read, instead of the file's inputs; may be repeated")
      ->allow_extra_args(false);
  data->add_option("--out", options->out, "the folder to write, instead of the file's out");
  data->add_option("--work", options->work,
                   "where a flow that writes to s3:// keeps its work meanwhile, instead of the file's work")
      ->type_name("DIR");
  data->add_flag("--explain", options->explain, "print the plan of a flow, and do nothing");
  CLI::App* show = data->add_subcommand("show",
                                        "Columns or fields, counts and first rows of a store, of a flow's "
                                        "output, or of a file that flow reads");
  show->add_option("PATH", options->shown, "a folder or file")->required();
  show->callback(
      [&invocation, options] { invocation.chosen = [options] { return show_data(options->shown); }; });
  CLI::App* verify =
      data->add_subcommand("verify", "Compare every file of a store or of a flow's output with its checksum");
  verify->add_option("DIR", options->verified, "the folder")->required();
  verify->callback(
      [&invocation, options] { invocation.chosen = [options] { return verify_data(options->verified); }; });
  number<int>(data->add_option("-n,--devices", options->devices,
                               "how many processes work at once; the bytes are the same for any number"))
      ->type_name("N");
  data->callback([&invocation, options, data] {
    if (!data->get_subcommands().empty()) return;
    invocation.chosen = [&invocation, options] { return run(*options, invocation); };
  });
}

}  // namespace shoal::cli
