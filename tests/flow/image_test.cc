#include "flow/image.h"

#include <gtest/gtest.h>

#include "flow/pictures.h"
#include "flow/source.h"
#include "flow/tables.h"
#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::flow {
namespace {

std::string decode(const std::string& bytes, Image& image) {
  return decode_image(std::as_bytes(std::span(bytes)), image);
}

TEST(Images, AreWhatWasWritten) {
  Image image;
  for (const uint32_t format :
       std::initializer_list<uint32_t>{PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB, PNG_FORMAT_RGBA}) {
    EXPECT_EQ(decode(png_of(5, 3, format), image), "");
    const size_t channels = PNG_IMAGE_SAMPLE_CHANNELS(format);
    EXPECT_EQ(image.width, 5);
    EXPECT_EQ(image.height, 3);
    EXPECT_EQ(image.channels, static_cast<int64_t>(channels));
    EXPECT_EQ(image.pixels, ramp(15 * channels));
  }
  for (const int channels : {1, 3}) {
    EXPECT_EQ(decode(jpeg_of(20, 10, channels), image), "");
    EXPECT_EQ(image.channels, channels);
    EXPECT_EQ(image.pixels, std::string(static_cast<size_t>(200 * channels), '\x60'));
  }
}

TEST(Images, DamageIsSaid) {
  Image image;
  EXPECT_EQ(decode("", image), "neither PNG nor JPEG");
  EXPECT_EQ(decode("GIF89a", image), "neither PNG nor JPEG");
  const std::string png = png_of(50, 30, PNG_FORMAT_RGB), jpeg = jpeg_of(50, 30, 3);
  for (size_t length = 4; length + 16 < png.size(); length += 11)
    EXPECT_TRUE(decode(png.substr(0, length), image).starts_with("damaged PNG: ")) << length;
  for (size_t length = 4; length + 2 < jpeg.size(); length += 11)
    EXPECT_TRUE(decode(jpeg.substr(0, length), image).starts_with("damaged JPEG: ")) << length;
  std::string bomb = png;  // the head says 2^30 columns
  bomb.replace(16, 4, "\x40\0\0\0", 4);
  EXPECT_NE(decode(bomb, image), "");
}

TEST(Images, AFolderIsATable) {
  TempFolder temp;
  write_file(temp / "in/cat/1.png", png_of(2, 1, PNG_FORMAT_GRAY));
  write_file(temp / "in/cat/2.jpg", jpeg_of(8, 8, 3));
  write_file(temp / "in/dog/3.png", png_of(1, 2, PNG_FORMAT_RGB));
  write_file(temp / "in/dog/4.png", "not a picture");
  Flow flow;
  flow.read({.paths = {(temp / "in").string()}, .format = "images", .bad_records = "collect"});
  const auto named = [&](const std::string& out) {
    flow.steps.clear();
    flow.select({{"label", "label"}, {"width", "width"}, {"height", "height"}, {"channels", "channels"}});
    return flow.write({.out = (temp / out).string(), .format = "csv"});
  };
  flow.settings.part_bytes = 300;
  const FlowReport report = run_flow(named("out"));
  EXPECT_EQ(report.bad_records, 1);
  EXPECT_EQ(report.first_bad_record, (temp / "in/dog/4.png").string() + ", byte 0: neither PNG nor JPEG");
  std::string rows;
  for (const auto& [name, bytes] : contents(temp / "out"))
    if (name.starts_with("part-")) rows += bytes.substr(bytes.find('\n') + 1);
  EXPECT_EQ(rows, "cat,2,1,1\ncat,8,8,3\ndog,1,2,3\n");
  run_flow(named("again"), {.devices = 3});
  EXPECT_EQ(contents(temp / "again"), contents(temp / "out"));
  flow.source.bad_records = "stop";
  EXPECT_ERROR(run_flow(named("stopped")), InputError,
               (temp / "in/dog/4.png").string() +
                   " - neither PNG nor JPEG; mend it, or set bad_records to skip or collect");
}

}  // namespace
}  // namespace shoal::flow
