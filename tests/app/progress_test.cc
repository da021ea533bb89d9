#include "app/progress.h"

#include <gtest/gtest.h>

namespace shoal::app {
namespace {

TEST(ProgressTest, NumbersAsPeopleWriteThem) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1'000), "1,000");
  EXPECT_EQ(grouped(1'234'567), "1,234,567");
  EXPECT_EQ(grouped(-123'456), "-123,456");
  EXPECT_EQ(human_seconds(0.2), "0 s");
  EXPECT_EQ(human_seconds(59.4), "59 s");
  EXPECT_EQ(human_seconds(60), "1 min 00 s");
  EXPECT_EQ(human_seconds(3'599.6), "1 h 00 min");
  EXPECT_EQ(human_seconds(7'380), "2 h 03 min");
}

const Moment kMoment = {.step = 120,
                        .steps = 600,
                        .loss = 2.31404,
                        .validation_loss = 2.4,
                        .tokens_per_second = 12'345.4,
                        .seconds_left = 80,
                        .peak_bytes = {310 << 20, 305 << 20}};

TEST(ProgressTest, TheLine) {
  EXPECT_EQ(progress_line(kMoment, "tokens"),
            "step 120/600  loss 2.3140  validation 2.4000  12,345 tokens/s  1 min 20 s left  memory 310 MiB, "
            "305 MiB");
  Moment other = kMoment;
  other.validation_loss = {};
  other.peak_bytes = {5 << 20, 7 << 20, 6 << 20, 9 << 20, 8 << 20};
  EXPECT_EQ(progress_line(other, "samples"),
            "step 120/600  loss 2.3140  12,345 samples/s  1 min 20 s left  memory 5.0 MiB to 9.0 MiB");
}

class Screen {
 public:
  Progress::Output output(bool is_terminal, int columns = 200) {
    return {[this](const std::string& text) { written += text; }, is_terminal, columns};
  }
  std::string written;
};

Moment at_step(int64_t step) {
  Moment moment = kMoment;
  moment.step = step;
  moment.steps = 3;
  moment.validation_loss = {};
  moment.peak_bytes = {};
  return moment;
}

TEST(ProgressTest, ATerminalHasOneLineThatIsWrittenOver) {
  Screen screen;
  {
    Progress progress(screen.output(true, 20));
    progress.show(at_step(1), "tokens", 100.0);
    progress.show(at_step(2), "tokens", 100.01);  // too soon
    progress.show(at_step(3), "tokens", 100.02);  // the last one is always shown
    progress.say("above\n");
    progress.show(at_step(3), "tokens", 101);
  }
  const std::string line = "\r\033[Kstep 1/3  loss 2.31", last = "\r\033[Kstep 3/3  loss 2.31";
  EXPECT_EQ(screen.written, line + last + "\nabove\n" + last + "\n");
}

TEST(ProgressTest, ElsewhereALineEveryFewSeconds) {
  Screen screen;
  {
    Progress progress(screen.output(false, 20));
    for (int i = 0; i < 100; ++i) progress.show(at_step(1), "tokens", 0.1 * i);  // 10 seconds
    progress.show(at_step(3), "tokens", 10);
  }
  const std::string rest = "/3  loss 2.3140  12,345 tokens/s  1 min 20 s left\n";
  EXPECT_EQ(screen.written, "step 1" + rest + "step 1" + rest + "step 3" + rest);
}

TEST(ProgressTest, OtherRanksAreSilent) {
  Progress progress;
  progress.show(at_step(3), "tokens", 0);
  progress.say("nothing\n");
}

}  // namespace
}  // namespace shoal::app
