// PNG and JPEG to pixels, by libpng and libjpeg.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace shoal::flow {

/// Rows from the top, eight bits for each channel: grey, grey and alpha, RGB, or RGBA.
struct Image {
  int64_t width = 0, height = 0, channels = 0;
  std::string pixels;
};

inline constexpr int64_t kMostPixelBytes = int64_t{1} << 28;

/// What is wrong with the bytes, or "". Any thread.
std::string decode_image(std::span<const std::byte> bytes, Image&);

}  // namespace shoal::flow
