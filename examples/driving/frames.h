// A folder of frames, 00000.png and 00000.label.png on, becomes a sample store.
#pragma once

#include <shoal/shoal.h>

#include <algorithm>
#include <string>
#include <vector>

#include "png_file.h"

constexpr int64_t kHeight = 64, kWidth = 96;
constexpr int64_t kClasses = 3;
inline const std::vector<std::string> kClassNames = {"other", "road", "obstacle"};

/// Frames and, for each pixel, its class.
inline const std::vector<shoal::SampleField> kFields = {{"image", torch::kByte, {3, kHeight, kWidth}},
                                                        {"label", torch::kByte, {kHeight, kWidth}}};

/// Returns the number of frames. About a fifth of them is for validation.
inline int64_t import_frames(const std::filesystem::path& frames, const std::filesystem::path& store) {
  std::vector<std::filesystem::path> images;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(frames, error))
    if (entry.path().extension() == ".png" && entry.path().stem().extension() != ".label")
      images.push_back(entry.path());
  if (images.empty())
    throw shoal::InputError(
        frames.string() +
        " - frames: got none, want 00000.png and 00000.label.png on, as simulate.py writes them");
  std::sort(images.begin(), images.end());  // folders have no order
  shoal::SampleStoreWriter writer(store, kFields, {.validation_every = 5, .shard_bytes = int64_t{4} << 20});
  for (const std::filesystem::path& image : images) {
    const auto label_file = std::filesystem::path(image).replace_extension(".label.png");
    const torch::Tensor label = read_png(label_file, 1).squeeze(0);
    if (label.max().item<int64_t>() >= kClasses)
      throw shoal::InputError(label_file.string() + " - classes: got " +
                              std::to_string(label.max().item<int64_t>()) + ", want 0 to 2");
    writer.add(image.stem().string(), {read_png(image, 3), label});
  }
  writer.finish();
  return static_cast<int64_t>(images.size());
}
