// Frames beside what is true and what was predicted, in one picture.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <vector>

#include "png_file.h"

struct Row {
  torch::Tensor frame;        // U8 [3, H, W]
  torch::Tensor truth, said;  // classes [H, W]
};

/// Each row three times as large, with the classes painted over a grey copy of the frame: road green,
/// obstacles red.
inline void write_picture(const std::filesystem::path& path, const std::vector<Row>& rows) {
  const auto painted = [](const torch::Tensor& frame, const torch::Tensor& classes) {
    const auto grey = frame.to(torch::kFloat).mean(0, true).expand({3, -1, -1});
    const auto colours = torch::tensor({90, 90, 110, 40, 180, 70, 230, 40, 40}, torch::kFloat).view({3, 3});
    const auto paint = colours.index_select(0, classes.flatten().to(torch::kLong)).t().view(grey.sizes());
    return (grey * 0.4 + paint * 0.6).to(torch::kByte);
  };
  std::vector<torch::Tensor> lines;
  for (const Row& row : rows)
    lines.push_back(torch::cat({row.frame, painted(row.frame, row.truth), painted(row.frame, row.said)}, 2));
  write_png(path, torch::cat(lines, 1).repeat_interleave(3, 1).repeat_interleave(3, 2));
}
