#include "mesh/layout.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "shoal/error.h"
#include "state/support.h"
#include "support/expect_error.h"

namespace shoal::mesh {
namespace {

using state::TemporaryFolder;
using state::write_text;

TEST(LayoutText, ReadsWhatPrintWrites) {
  const std::pair<const char*, Layout> cases[] = {
      {"dp=1", {}},
      {"dp=4", {.dp = 4}},
      {"dp=2,tp=2", {.dp = 2, .tp = 2}},
      {"dp=4,zero=0", {.dp = 4, .zero = 0}},
      {"dp=1,tp=4,zero=3", {.tp = 4, .zero = 3}},
      {"dp=3,tp=2,owners=servers:2", {.dp = 3, .tp = 2, .servers = 2}},
  };
  for (const auto& [text, layout] : cases) {
    EXPECT_EQ(print(layout), text);
    EXPECT_EQ(parse_layout(text, "here"), layout) << text;
  }
  EXPECT_EQ(parse_layout(" owners = servers:1 , tp=2", "here"), (Layout{.tp = 2, .servers = 1}));
  EXPECT_EQ(print(parse_layout("zero=1,dp=2,tp=1", "here")), "dp=2");
  for (const char* const text : {"dp=1,pp=2", "dp=2,tp=2,pp=3,schedule=gpipe,zero=3", "dp=1,pp=4,schedule=zero_bubble",
                                 "dp=1,pp=2,schedule=interleaved_1f1b:3,owners=servers:1"})
    EXPECT_EQ(print(parse_layout(text, "here")), text);
}

TEST(LayoutText, RefusesWhatIsNone) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "got \"\", want axes and numbers, as in dp=2,tp=2"},
      {"dp=2,", "got \"\", want axes and numbers, as in dp=2,tp=2"},
      {"zero", "got \"zero\", want axes and numbers, as in dp=2,tp=2"},
      {"dq=2", "got dq=2, an unknown axis; did you mean dp?"},
      {"dp=2,owner=servers:1", "got owner=servers:1, an unknown axis; did you mean owners?"},
      {"kangaroo=2", "got kangaroo=2, an unknown axis; a layout has dp, tp, zero, owners, pp, schedule, recompute"},
      {"schedule=1f1b", "got a schedule without pp, want pp=2 or more with it: it orders the stages of a pipeline"},
      {"pp=2,schedule=2f2b",
       "got schedule=2f2b, want 1f1b, gpipe, interleaved_1f1b:STAGES (on each device), zero_bubble, "
       "zero_bubble_h2 or zero_bubble_v"},
      {"pp=2,schedule=interleaved_1f1b",
       "got schedule=interleaved_1f1b, want interleaved_1f1b:STAGES with 2 or more stages on each device, as in "
       "interleaved_1f1b:2"},
      {"pp=2,schedule=gpipe:2",
       "got schedule=gpipe:2, want no number: only interleaved_1f1b has several stages on a device"},
      {"pp=2,schedule=gpipe,schedule=gpipe", "got schedule=gpipe after another schedule; say it once"},
      {"pp=2,schedule=zero_bubble_v:2",
       "got schedule=zero_bubble_v:2, want no number: only interleaved_1f1b has several stages on a device"},
      {"recompute=some", "got recompute=some, want none, selective or all"},
      {"recompute=all,recompute=none", "got recompute=none after another recompute; say it once"},
      {"dp=0", "got dp=0, want dp=N, N a whole number from 1 to 256"},
      {"dp=2x", "got dp=2x, want dp=N, N a whole number from 1 to 256"},
      {"tp=", "got tp=, want tp=N, N a whole number from 1 to 256"},
      {"tp=99999999999999999999", "got tp=99999999999999999999, want tp=N, N a whole number from 1 to 256"},
      {"zero=4", "got zero=4, want zero=N, N a whole number from 0 to 3"},
      {"owners=servers:0", "got owners=servers:0, want owners=servers:N, N a whole number from 1 to 256"},
      {"owners=2", "got owners=2, want owners=servers:N, N a whole number from 1 to 256"},
      {"dp=2,dp=2", "got dp=2 after another dp=; say it once"},
      {"dp=2,zero=1,owners=servers:1",
       "got zero=1 with 1 server; servers own all weights and optimizer state, so leave zero out"},
  };
  for (const auto& [text, sentence] : cases)
    EXPECT_ERROR(parse_layout(text, "--layout"), InputError, cat("--layout: ", sentence));
}

TEST(LayoutText, ReadsAPlanFile) {
  const TemporaryFolder folder;
  const std::string path = (folder / "plan.toml").string();
  const auto plan = [&](const std::string& text) {
    write_text(path, text);
    return parse_layout(path, "--layout");
  };
  EXPECT_EQ(plan("[layout]\ndp = 2\ntp = 2\nzero = 3\n"), (Layout{.dp = 2, .tp = 2, .zero = 3}));
  EXPECT_EQ(plan("[layout]\nservers = 1\n"), (Layout{.servers = 1}));
  EXPECT_EQ(plan("[layout]\n"), Layout{});
  EXPECT_ERROR(plan(""), InputError,
               cat(path, " - layout: missing; want [layout] with dp, tp, zero, servers, pp, schedule, recompute"));
  EXPECT_ERROR(plan("dp = 2\n"), InputError, cat(path, ":1 - dp: want [layout] alone"));
  EXPECT_ERROR(plan("[layout]\ndp = 2\ntq = 2\n"), InputError,
               cat(path, ":3 - layout: got tq, an unknown axis; did you mean tp?"));
  EXPECT_EQ(plan("[layout]\npp = 2\nschedule = \"interleaved_1f1b:2\"\n"),
            (Layout{.pp = 2, .schedule = Schedule::kInterleaved1F1B, .stages_per_device = 2}));
  EXPECT_EQ(plan("[layout]\npp = 2\nschedule = \"zero_bubble_v\"\nrecompute = \"all\"\n"),
            (Layout{.pp = 2, .schedule = Schedule::kZeroBubbleV, .stages_per_device = 2, .recompute = Recompute::kAll}));
  EXPECT_ERROR(plan("[layout]\ndp = 2.5\n"), InputError,
               cat(path, ":2 - layout: got dp = 2.5, want dp = N, N a whole number from 1 to 256"));
  EXPECT_ERROR(plan("[layout]\ndp = \"2\"\n"), InputError,
               cat(path, ":2 - layout: got dp = '2', want dp = N, N a whole number from 1 to 256"));
  EXPECT_ERROR(plan("[layout]\nzero = 2\nservers = 2\n"), InputError,
               cat(path,
                   " - layout: got zero=2 with 2 servers; servers own all weights and optimizer state, so "
                   "leave zero out"));
  EXPECT_ERROR(parse_layout((folder / "no.toml").string(), "--layout"), InputError,
               cat((folder / "no.toml").string(), " - no such file: want a plan (TOML with a [layout])"));
}

TEST(LayoutCheck, LetsThroughWhatWorks) {
  const Limits limits{.devices = 4, .microbatches = 4, .tensor_chunks = 4, .divided = {{"model.heads", 8}}};
  for (const char* const text :
       {"dp=4", "dp=2,tp=2", "tp=4", "dp=4,zero=3", "dp=2,tp=2,zero=0", "dp=3,owners=servers:1",
        "dp=1,owners=servers:3", "tp=2,owners=servers:2", "tp=4,zero=0"})
    EXPECT_NO_THROW(check_layout(parse_layout(text, "here"), limits, "here")) << text;
  EXPECT_NO_THROW(
      check_layout({}, {.tensor_chunks = 3, .divided = {{"model.heads", 8}}}, "here"));  // stays whole
}

TEST(LayoutCheck, RefusesWithTheNearestThatWork) {
  struct Case {
    Layout layout;
    Limits limits;
    const char* sentence;
  };
  const std::vector<std::pair<std::string, int64_t>> heads = {{"model.heads", 8}};
  const Case cases[] = {
      {{.dp = 2, .tp = 2},
       {.devices = 3, .microbatches = 4, .tensor_chunks = 2, .divided = heads},
       "got dp=2,tp=2, which is 4 devices, want 3; what works on 3 devices: dp=3 or dp=2,owners=servers:1 or "
       "dp=1,tp=2,owners=servers:1"},
      {{.dp = 1},
       {.devices = 4, .microbatches = 4},
       "got dp=1, which is 1 device, want 4; what works on 4 devices: dp=4 or dp=3,owners=servers:1 or "
       "dp=2,owners=servers:2"},
      {{.tp = 2},
       {.devices = 2, .microbatches = 4},
       "tp=2 needs [numerics] tensor_chunks = 2 (another run: other bits); what works on 2 devices: dp=2 or "
       "dp=1,owners=servers:1"},
      {{.tp = 3},
       {.devices = 3, .microbatches = 4, .divided = heads},
       "tp=3 needs [numerics] tensor_chunks = 3, which does not divide model.heads (8); what works on 3 "
       "devices: "
       "dp=3 or dp=2,owners=servers:1 or dp=1,owners=servers:2"},
      {{.tp = 3},
       {.devices = 3, .microbatches = 4, .tensor_chunks = 3, .divided = heads},
       "got tp=3 with [numerics] tensor_chunks = 3, which does not divide model.heads (8); what works on 3 "
       "devices: "
       "dp=3 or dp=2,owners=servers:1 or dp=1,owners=servers:2"},
      {{.dp = 2, .tp = 4},
       {.devices = 8, .microbatches = 8, .tensor_chunks = 2, .divided = heads},
       "tp=4 does not divide [numerics] tensor_chunks = 2; it needs a multiple of 4 there (another run: "
       "other bits); "
       "what works on 8 devices: dp=4,tp=2 or dp=8 or dp=3,tp=2,owners=servers:2"},
      {{.dp = 4, .zero = 3},
       {.devices = 4, .microbatches = 3, .tensor_chunks = 2, .divided = heads},
       "got dp=4, want at most train.microbatches (3); a microbatch is never divided; what works on 4 "
       "devices: "
       "dp=2,tp=2,zero=3 or dp=3,owners=servers:1 or dp=2,owners=servers:2"},
      {{.zero = 3},
       {.devices = 1, .microbatches = 4},
       "got zero=3 with dp=1, nothing to divide: zero needs dp > 1; use dp=2 or leave it out; what works on "
       "1 "
       "device: dp=1"},
      {{.tp = 2, .zero = 2},
       {.devices = 2, .microbatches = 4, .tensor_chunks = 2},
       "got zero=2 with dp=1, nothing to divide: zero needs dp > 1; use dp=2 or leave it out; what works on "
       "2 "
       "devices: dp=1,tp=2 or dp=2,zero=2 or dp=1,owners=servers:1"},
      {{.dp = 1, .zero = 3, .servers = 1},
       {.devices = 2, .microbatches = 4},
       "got zero=3 with 1 server; servers own all weights and optimizer state, so leave zero at its default; "
       "what "
       "works on 2 devices: dp=1,owners=servers:1 or dp=2"},
      {{.pp = 3},
       {.devices = 4, .microbatches = 4},
       "got dp=1,pp=3, which is 3 devices, want 4; what works on 4 devices: dp=1,pp=4 or dp=2,pp=2 or "
       "dp=1,pp=3,owners=servers:1"},
      {{.schedule = Schedule::kGPipe},
       {.devices = 1, .microbatches = 4},
       "got a schedule with pp=1, want pp=2 or more with it; what works on 1 device: dp=1"},
      {{.dp = 2, .zero = 2, .pp = 2, .schedule = Schedule::kInterleaved1F1B, .stages_per_device = 2},
       {.devices = 4, .microbatches = 5},
       "got zero=2 and interleaved_1f1b with 5 microbatches, want a multiple of dp=2; what works on 4 devices: "
       "dp=4,zero=2 or dp=1,pp=4,schedule=interleaved_1f1b:2 or dp=3,owners=servers:1"},
      {{.dp = 0},
       {.devices = 2, .microbatches = 4},
       "got dp=0, tp=1, pp=1, zero=1, servers=0, want dp, tp and pp of at least 1, zero from 0 to 3, servers of at "
       "least 0; "
       "what works on 2 devices: dp=2 or dp=1,owners=servers:1"},
  };
  for (const Case& c : cases)
    EXPECT_ERROR(check_layout(c.layout, c.limits, "r.toml:16 - layout.mesh"), InputError,
                 cat("r.toml:16 - layout.mesh: ", c.sentence));
}

// Whatever is suggested passes, for all layouts on up to 12 devices.
TEST(LayoutCheck, WhatIsSuggestedWorks) {
  int refused = 0;
  for (int64_t devices = 1; devices <= 12; ++devices)
    for (int64_t tp = 1; tp <= devices; ++tp)
      for (int64_t servers = 0; servers < devices; ++servers)
        for (int zero = 0; zero <= 3; ++zero) {
          const Limits limits{
              .devices = devices, .microbatches = 4, .tensor_chunks = 4, .divided = {{"heads", 4}}};
          const Layout layout{.dp = (devices - servers) / tp, .tp = tp, .zero = zero, .servers = servers};
          try {
            check_layout(layout, limits, "here");
          } catch (const InputError& error) {
            ++refused;
            const std::string sentence = error.what(), start = devices == 1 ? " device: " : " devices: ";
            const size_t at = sentence.find(start);
            ASSERT_NE(at, std::string::npos) << sentence;
            std::string rest = sentence.substr(at + start.size());
            for (size_t end = 0; end != std::string::npos;) {
              end = rest.find(" or ");
              EXPECT_NO_THROW(check_layout(parse_layout(rest.substr(0, end), "it"), limits, "it"))
                  << sentence;
              if (end != std::string::npos) rest = rest.substr(end + 4);
            }
          }
        }
  EXPECT_GT(refused, 100);
}

TEST(LayoutDefault, IsTheDataAxis) {
  EXPECT_EQ(default_layout({.devices = 3, .microbatches = 4}, "here"), (Layout{.dp = 3}));
  EXPECT_ERROR(
      default_layout({.devices = 5, .microbatches = 4}, "--devices 5 - layout.devices"), InputError,
      "--devices 5 - layout.devices: got 5, want at most train.microbatches (4); a microbatch is never "
      "divided; "
      "what works on 5 devices: dp=4,owners=servers:1 or dp=3,owners=servers:2 or dp=2,owners=servers:3");
}

}  // namespace
}  // namespace shoal::mesh
