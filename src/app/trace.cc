#include "app/trace.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::app {
namespace {

using nlohmann::json;
using Steps = decltype(Trace::steps);

// By what is said of an event: the pass of a stage, the instruction's first word, the part of the step.
constexpr std::pair<const char*, Work> kPasses[] = {{"forward", Work::kForward},
                                                    {"backward", Work::kBackward},
                                                    {"input gradients", Work::kInputGradient},
                                                    {"weight gradients", Work::kWeightGradient}};
constexpr std::pair<const char*, Work> kParts[] = {
    {"wait", Work::kWait}, {"reduce", Work::kReduce}, {"update", Work::kUpdate}, {"gather", Work::kGather}};

Work work_of(const json& event) {
  const json& about = event.at("args");
  const auto part = event.at("cat").get<std::string>(), pass = about.value("pass", std::string());
  for (const auto& [name, work] : kParts)
    if (part == name) return work;
  for (const auto& [name, work] : kPasses)
    if (pass == name) return work;
  return about.at("instruction").get<std::string>().starts_with("run ") ? Work::kCompute : Work::kOther;
}
bool is_part(Work work) {
  return std::ranges::find(kParts, work, [](const auto& pair) { return pair.second; }) != std::end(kParts);
}

TraceEvent event_of(const json& event) {
  const json& about = event.at("args");
  const double begin = event.at("ts");
  TraceEvent read{work_of(event), begin, begin + event.at("dur").get<double>(), {}};
  if (!is_part(read.work) && read.work != Work::kOther)
    read.label = cat(about.at("microbatch").get<int64_t>());
  return read;
}

template <class... Values>
std::string formatted(const char* format, Values... values) {
  char text[128];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

struct Span {
  double begin, end;
  double length() const { return end - begin; }
};
// Of a step, over all devices.
Span span_of(const std::vector<std::vector<TraceEvent>>& devices) {
  Span span{std::numeric_limits<double>::max(), 0};
  for (const auto& events : devices)
    for (const TraceEvent& event : events)
      span = {std::min(span.begin, event.begin), std::max(span.end, event.end)};
  return span;
}

struct Shares {
  double compute = 0, wait = 0, reduce = 0, update = 0, gather = 0;
  double busy() const { return compute + reduce + update + gather; }
};
// Microseconds of a device. A wait is part of the time of the event that it lies in.
Shares shares_of(const std::vector<TraceEvent>& events) {
  Shares shares;
  double* holder = nullptr;
  for (const TraceEvent& event : events) {
    const double time = event.end - event.begin;
    if (event.work == Work::kWait) {
      shares.wait += time;
      if (holder) *holder -= time;
      continue;
    }
    holder = event.work == Work::kReduce   ? &shares.reduce
             : event.work == Work::kUpdate ? &shares.update
             : event.work == Work::kGather ? &shares.gather
                                           : &shares.compute;
    *holder += time;
  }
  return shares;
}

}  // namespace

Trace read_trace(const std::filesystem::path& path) {
  std::ifstream stream(path);
  if (!stream)
    throw InputError(cat(path.string(), " - cannot be read: want a file that shoal train --trace wrote"));
  const json file = json::parse(stream, nullptr, /*allow_exceptions=*/false);
  try {
    Trace trace{.layout = file.at("otherData").at("layout"), .steps = {}};
    size_t devices = 0;
    for (const json& event : file.at("traceEvents")) {
      devices = std::max(devices, event.at("pid").get<size_t>() + 1);
      if (event.at("ph") != "X") continue;
      auto& step = trace.steps[event.at("args").at("step")];
      step.resize(devices);  // whose names came first
      step.at(event.at("pid")).push_back(event_of(event));
    }
    return trace;
  } catch (const std::exception&) {  // keys, types, ranks
    throw InputError(
        cat(path.string(), " - trace: got something else, want a file that shoal train --trace wrote"));
  }
}

std::string trace_text(const Trace& trace) {
  std::string text = "share       device  compute     wait   reduce   update   gather     rest\n";
  double length = 0;
  std::vector<Shares> all;
  for (const auto& [number, devices] : trace.steps) {
    length += span_of(devices).length();
    all.resize(devices.size());
    for (size_t d = 0; d < devices.size(); ++d) {
      const Shares shares = shares_of(devices[d]);
      for (const auto part :
           {&Shares::compute, &Shares::wait, &Shares::reduce, &Shares::update, &Shares::gather})
        all[d].*part += shares.*part;
    }
  }
  for (size_t d = 0; d < all.size(); ++d) {
    const Shares& s = all[d];
    const auto percent = [&](double time) { return 100 * time / length; };
    text += formatted("            %6zu %6.1f %% %6.1f %% %6.1f %% %6.1f %% %6.1f %% %6.1f %%\n", d,
                      percent(s.compute), percent(s.wait), percent(s.reduce), percent(s.update),
                      percent(s.gather), percent(length - s.busy() - s.wait));
  }
  return text;
}

Drawing draw_trace(const Trace& trace) {
  std::vector<std::pair<double, Steps::const_iterator>> by_length;
  for (auto step = trace.steps.begin(); step != trace.steps.end(); ++step)
    by_length.emplace_back(span_of(step->second).length(), step);
  std::ranges::stable_sort(by_length, {}, &decltype(by_length)::value_type::first);
  const auto& [number, devices] = *by_length[(by_length.size() - 1) / 2].second;
  const Span span = span_of(devices);
  Drawing drawing{.title = cat(trace.layout, ", step ", number, " as it ran, ",
                               formatted("%.1f ms", 1e-3 * span.length())),
                  .length = span.length(),
                  .rows = {}};
  for (size_t d = 0; d < devices.size(); ++d) {
    Drawing::Row& row =
        drawing.rows.emplace_back(Drawing::Row{cat("device ", d), {}, shares_of(devices[d]).busy()});
    for (const TraceEvent& event : devices[d])
      row.boxes.push_back({event.work, event.begin - span.begin, event.end - span.begin, event.label});
  }
  return drawing;
}

}  // namespace shoal::app
