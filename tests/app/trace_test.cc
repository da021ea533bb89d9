// What is made of a trace: shares, a picture, and a sentence where it is none.
#include "app/trace.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "shoal/error.h"
#include "state/support.h"
#include "support/expect_error.h"

namespace shoal::app {
namespace {

using state::TemporaryFolder;
using state::write_text;

std::string event(int rank, const char* category, double begin, double end, const std::string& more,
                  int step = 3) {
  return cat(R"({"name":"x","cat":")", category, R"(","ph":"X","ts":)", begin, R"(,"dur":)", end - begin,
             R"(,"pid":)", rank, R"(,"tid":0,"args":{"step":)", step, ",", more, "}},\n");
}
// Two devices of a pipeline, a step of 100 us from 1000 on: the second one waits for the first.
std::string text(const std::string& more = "") {
  const std::string forward = R"("microbatch":7,"stage":0,"pass":"forward","instruction":"run S0 %f0")";
  const std::string receive = R"("microbatch":7,"stage":1,"instruction":"receive T0 %f0")";
  const std::string reduce = R"("instruction":"all_reduce %n group=world")";
  return cat(R"({"otherData":{"layout":"pp=2"},"traceEvents":[)", "\n",
             R"({"name":"process_name","ph":"M","pid":0},)", R"({"name":"process_name","ph":"M","pid":1},)",
             "\n", event(0, "compute", 1000, 1050, forward), event(0, "reduce", 1060, 1090, reduce),
             event(0, "wait", 1065, 1085, reduce), event(1, "compute", 1005, 1060, receive),
             event(1, "wait", 1010, 1055, receive),
             event(1, "gather", 1090, 1100, R"("instruction":"all_gather %w")"), more,
             R"({"name":"thread_name","ph":"M","pid":0}]})");
}

Trace read(const std::string& text) {
  const TemporaryFolder folder;
  write_text(folder.path() / "t.json", text);
  return read_trace(folder.path() / "t.json");
}

TEST(TraceTest, SharesAreOfTheStepsOfAllDevices) {
  EXPECT_EQ(trace_text(read(text())),
            "share       device  compute     wait   reduce   update   gather     rest\n"
            "                 0   50.0 %   20.0 %   10.0 %    0.0 %    0.0 %   20.0 %\n"
            "                 1   10.0 %   45.0 %    0.0 %    0.0 %   10.0 %   35.0 %\n");
}

TEST(TraceTest, AStepIsDrawn) {
  const Drawing drawing = draw_trace(read(text()));
  EXPECT_EQ(drawing.title, "pp=2, step 3 as it ran, 0.1 ms");
  EXPECT_EQ(drawing.length, 100);
  ASSERT_EQ(drawing.rows.size(), 2U);
  EXPECT_EQ(drawing.rows[0].busy, 60);
  EXPECT_EQ(drawing.rows[1].busy, 20);
  std::string boxes;
  for (const Drawing::Row& row : drawing.rows)
    for (const Drawing::Box& box : row.boxes)
      boxes += cat(static_cast<int>(box.work), " ", box.begin, " ", box.end, " '", box.label, "'\n");
  const auto line = [](Work work, const char* rest) { return cat(static_cast<int>(work), rest, "\n"); };
  EXPECT_EQ(boxes, line(Work::kForward, " 0 50 '7'") + line(Work::kReduce, " 60 90 ''") +
                       line(Work::kWait, " 65 85 ''") + line(Work::kOther, " 5 60 ''") +
                       line(Work::kWait, " 10 55 ''") + line(Work::kGather, " 90 100 ''"));
  const std::string svg = timeline_svg(drawing);
  EXPECT_NE(svg.find("idle 40.0 %"), std::string::npos);
  EXPECT_NE(svg.find("idle 80.0 %"), std::string::npos);
  EXPECT_NE(svg.find(">forward</text>"), std::string::npos);
  EXPECT_EQ(svg.find(">update</text>"), std::string::npos);  // there is none
}

TEST(TraceTest, OfSeveralStepsTheMedianIsDrawn) {
  const auto compute = [](int step, double end) {
    return event(0, "compute", 2000, end, R"("microbatch":0,"instruction":"run S0 %f0")", step);
  };
  EXPECT_EQ(draw_trace(read(text(compute(4, 9000) + compute(5, 2400)))).title,
            "pp=2, step 5 as it ran, 0.4 ms");
}

TEST(TraceTest, WhatIsNoTraceIsRefused) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "t.json";
  EXPECT_ERROR(read_trace(file), InputError,
               cat(file.string(), " - cannot be read: want a file that shoal train --trace wrote"));
  for (const char* wrong :
       {"", "{}", "[1, 2]", R"({"otherData":{"layout":"dp=1"},"traceEvents":[{"ph":"X","pid":0}]})",
        R"({"otherData":{"layout":3},"traceEvents":[]})"}) {
    write_text(file, wrong);
    EXPECT_ERROR(
        read_trace(file), InputError,
        cat(file.string(), " - trace: got something else, want a file that shoal train --trace wrote"));
  }
}

}  // namespace
}  // namespace shoal::app
