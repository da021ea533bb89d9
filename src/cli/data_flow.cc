#include "cli/data_flow.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <system_error>

#include "base/text.h"
#include "cli/usage.h"
#include "comm/launch.h"
#include "data/manifest.h"
#include "data/sample_shards.h"
#include "data/token_store.h"
#include "flow/manifest.h"
#include "flow/parse_flow.h"
#include "shoal/error.h"
#include "shoal/flow.h"
#include "shoal/world.h"

namespace shoal::cli {
namespace {

/// How far the stage is, on stderr: one line that changes on a terminal, a new line now and then elsewhere.
class FlowMeter {
 public:
  void operator()(const FlowProgress& progress) {
    const Clock::time_point now = Clock::now();
    if (progress.stage != stage_) {
      stage_ = progress.stage;
      begin_ = now;
      next_ = now + interval_;
    }
    const bool is_last = progress.parts_done == progress.num_parts && progress.stage == progress.num_stages;
    if (now < next_ && !(is_last && is_terminal_)) return;
    next_ = now + interval_;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    const double rate = seconds > 0 ? static_cast<double>(progress.bytes_done) / seconds : 0;
    const double left = rate > 0 ? static_cast<double>(progress.bytes_total - progress.bytes_done) / rate : 0;
    std::fprintf(stderr, "%sstage %d of %d: part %lld of %lld, %s of %s, %.0f MB/s, %.0f s left%s",
                 is_terminal_ ? "\r\033[K" : "", progress.stage, progress.num_stages,
                 static_cast<long long>(progress.parts_done), static_cast<long long>(progress.num_parts),
                 human_bytes(static_cast<uint64_t>(progress.bytes_done)).c_str(),
                 human_bytes(static_cast<uint64_t>(progress.bytes_total)).c_str(), rate / 1e6, left,
                 is_terminal_ && !is_last ? "" : "\n");
  }

 private:
  using Clock = std::chrono::steady_clock;
  const bool is_terminal_ = is_terminal(STDERR_FILENO);
  const std::chrono::milliseconds interval_{is_terminal_ ? 200 : 10'000};
  int stage_ = 0;
  Clock::time_point begin_ = Clock::now(), next_ = begin_ + interval_;
};

void print(const FlowReport& report, const std::string& out) {
  std::printf("%s: %lld rows in %lld files", out.c_str(), static_cast<long long>(report.rows),
              static_cast<long long>(report.files));
  if (report.parts_kept > 0)
    std::printf(", %lld parts were done already", static_cast<long long>(report.parts_kept));
  std::printf("\n");
  for (const FlowStepCount& step : report.steps)
    std::printf("  %12lld -> %12lld  %s\n", static_cast<long long>(step.rows_in),
                static_cast<long long>(step.rows_out), step.step.c_str());
  if (report.bad_records > 0)
    std::printf("  %lld bad records left out; the first: %s\n", static_cast<long long>(report.bad_records),
                report.first_bad_record.c_str());
}

}  // namespace

int run_flow_file(const FlowRequest& request, const Invocation& invocation) {
  Flow flow = flow::load_flow(request.file);
  if (!request.inputs.empty() && !flow.mixed.empty())
    throw InputError(cat(request.file, " - --input: got paths for a mixture of several sources; write them into the file"));
  if (!request.inputs.empty()) flow.source.paths = request.inputs;
  if (!request.out.empty()) flow.sink.out = request.out;
  if (!request.work.empty()) flow.sink.work = request.work;
  if (request.explain) {
    std::fputs(explain(flow).c_str(), stdout);
    return 0;
  }
  if (!comm::is_launched()) explain(flow);  // what does not fit is said before any device starts
  if (request.devices > 1 && !comm::is_launched())
    return comm::launch(
        {request.devices, {invocation.argv, invocation.argv + invocation.argc}, "shoal data"});
  return guarded_main(invocation.argc, invocation.argv, [&](World& world) {
    FlowMeter meter;
    const FlowReport report = shoal::run_flow(flow, world.communicator(), std::ref(meter));
    if (world.rank() == 0) print(report, flow.sink.out);
  });
}

int show_data(const std::string& path) {
  if (data::is_sample_store(path)) {
    std::fputs(data::SampleShards(path).describe().c_str(), stdout);
    return 0;
  }
  if (data::is_token_store(path)) {
    std::fputs(data::TokenStore(path).describe().c_str(), stdout);
    return 0;
  }
  std::fputs(flow::show(path).c_str(), stdout);
  return 0;
}

int verify_data(const std::string& path) {
  if (data::is_sample_store(path)) {
    const data::SampleShards store(path);
    store.verify();
    std::printf("%s: %lld samples in %zu shards, all as they were written\n", path.c_str(),
                static_cast<long long>(store.num_samples(data::Split::kTrain) +
                                       store.num_samples(data::Split::kValidation)),
                store.manifest()[data::Split::kTrain].shards.size() +
                    store.manifest()[data::Split::kValidation].shards.size());
    return 0;
  }
  if (data::is_token_store(path)) {
    const data::TokenStore store(path);
    store.verify();
    std::printf("%s: %zu shards, all as they were written\n", path.c_str(),
                store.manifest()[data::Split::kTrain].shards.size() +
                    store.manifest()[data::Split::kValidation].shards.size());
    return 0;
  }
  const flow::OutputManifest manifest = flow::verify_output(path);
  std::printf("%s: %lld rows in %zu files, all as they were written\n", path.c_str(),
              static_cast<long long>(manifest.report.rows), manifest.files.size());
  return 0;
}

}  // namespace shoal::cli
