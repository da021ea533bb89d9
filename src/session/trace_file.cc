#include "session/trace_file.h"

#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/text.h"
#include "comm/collectives.h"
#include "shoal/error.h"

namespace shoal::session {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using run::Clock;

constexpr const char* kEnd = "\n]}\n";

std::ofstream open(const fs::path& path) {
  errno = 0;
  std::ofstream stream(path);
  if (!stream)
    throw InputError(cat("trace - ", path.string(), ": cannot be written: ",
                         std::generic_category().message(errno), "; name a file that can be"));
  return stream;
}

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

std::string event(const std::string& name, run::Part part, int rank, Clock::time_point begin,
                  Clock::time_point end, const ordered_json& arguments) {
  return ordered_json({{"name", name},
                       {"cat", run::name_of(part)},
                       {"ph", "X"},
                       {"ts", microseconds(begin.time_since_epoch())},
                       {"dur", microseconds(end - begin)},
                       {"pid", rank},
                       {"tid", 0},
                       {"args", arguments}})
      .dump();
}

const char* name_of(lower::Turn::Pass pass) {
  switch (pass) {
    case lower::Turn::Pass::kForward:
      return "forward";
    case lower::Turn::Pass::kInputGradient:
      return "input gradients";
    case lower::Turn::Pass::kWeightGradient:
      return "weight gradients";
    case lower::Turn::Pass::kBackward:
      break;
  }
  return "backward";
}

// A line for each event; waits lie within the event of their instruction.
std::string events_of(const run::StepTrace& trace, int rank) {
  std::vector<std::string> lines;
  for (const run::TracedInstruction& i : trace.instructions()) {
    ordered_json arguments = {{"step", trace.step()}};
    if (i.microbatch >= 0) arguments["microbatch"] = i.microbatch;
    if (i.stage >= 0) arguments["stage"] = i.stage;
    if (i.turn) arguments["pass"] = name_of(i.turn->pass);
    arguments["instruction"] = i.text;
    lines.push_back(
        event(i.turn ? cat("run ", lower::print(*i.turn)) : i.text, i.part, rank, i.begin, i.end, arguments));
    for (const run::Wait& wait : i.waits)
      lines.push_back(event(wait.rank == run::Wait::kAll ? "wait for all" : cat("wait for rank ", wait.rank),
                            run::Part::kWait, rank, wait.begin, wait.end, arguments));
  }
  return join(lines, ",\n");
}

// The head of the file: what Perfetto shows as its metadata, and the names of the rows.
std::string head_of(const Session& session) {
  std::vector<std::string> names;
  for (int rank = 0; rank < session.world.size(); ++rank) {
    names.push_back(
        ordered_json(
            {{"name", "process_name"}, {"ph", "M"}, {"pid", rank}, {"args", {{"name", cat("rank ", rank)}}}})
            .dump());
    names.push_back(
        ordered_json(
            {{"name", "process_sort_index"}, {"ph", "M"}, {"pid", rank}, {"args", {{"sort_index", rank}}}})
            .dump());
    names.push_back(ordered_json({{"name", "thread_name"},
                                  {"ph", "M"},
                                  {"pid", rank},
                                  {"tid", 0},
                                  {"args", {{"name", "instructions"}}}})
                        .dump());
  }
  const ordered_json about = {{"layout", print(session.layout)},
                              {"microbatches", session.options.microbatches},
                              {"clock", "CLOCK_MONOTONIC"}};
  return cat("{\"displayTimeUnit\":\"ms\",\"otherData\":", about.dump(), ",\"traceEvents\":[\n",
             join(names, ",\n"));
}

}  // namespace

std::string print(const TraceOptions& trace) {
  return trace.file.empty() ? "none"
                            : cat(trace.file.string(), " of ", trace.count, " steps after ", trace.skip);
}

void check_trace_file(const fs::path& path) { open(path) << "{\"traceEvents\":[" << kEnd; }

TraceFile::TraceFile(const Session& session) : session_(session) {
  const fs::path& path = session.options.trace.file;
  if (path.empty() || session.world.rank() != 0) return;
  file_ = open(path);
  file_ << head_of(session);
  end_ = file_.tellp();
  file_ << kEnd << std::flush;
}

run::StepTrace* TraceFile::next() {
  const TraceOptions& trace = session_.options.trace;
  const bool is_traced =
      !trace.file.empty() && num_steps_ >= trace.skip && num_steps_ - trace.skip < trace.count;
  return is_traced ? &trace_ : nullptr;
}

void TraceFile::step_ended(comm::Group& world) {
  if (next()) {
    const std::vector<std::string> all = comm::all_gather_texts(world, events_of(trace_, world.rank()));
    if (file_.is_open()) {
      file_.seekp(end_);
      file_ << ",\n" << join(all, ",\n");
      end_ = file_.tellp();
      errno = 0;
      if (!(file_ << kEnd << std::flush))
        throw JobError(cat("trace - ", session_.options.trace.file.string(),
                           ": cannot be written: ", std::generic_category().message(errno)));
    }
  }
  ++num_steps_;
}

}  // namespace shoal::session
