// PNG files as tensors, by libpng.
#pragma once

#include <torch/torch.h>

#include <filesystem>

/// U8 [channels, height, width]: 1 channel of a grey picture, 3 of one in colour. Throws shoal::InputError
/// with the file's name.
torch::Tensor read_png(const std::filesystem::path& path, int64_t channels);

/// U8 [3, height, width]. Throws shoal::JobError.
void write_png(const std::filesystem::path& path, const torch::Tensor& picture);
