// A model from one form into another: what `shoal convert` does (docs/model_files.md).
#pragma once

#include <filesystem>
#include <optional>

#include "formats/model_file.h"

namespace shoal::formats {

enum class TargetForm : uint8_t { kGguf, kHuggingFace };

struct ConvertOptions {
  TargetForm to = TargetForm::kGguf;
  /// Of matrices: F32, F16, BF16, and of GGUF Q8_0. Nothing: what the source has where the target can hold
  /// it, else F32, which holds all that quantised numbers can be.
  std::optional<WeightType> type;
};

/// `out` (a file of GGUF, a folder of Hugging Face) appears whole or not at all. Holds a matrix in memory at
/// a time. Throws InputError where `out` is there already, or the target has no words for what the source is;
/// JobError where it cannot be written.
void convert(const std::filesystem::path& source, const std::filesystem::path& out, const ConvertOptions&);

}  // namespace shoal::formats
