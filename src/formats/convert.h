// A model from one form into another: what `shoal convert` does (docs/model_files.md).
#pragma once

#include <filesystem>
#include <optional>

#include "formats/model_file.h"

namespace shoal::formats {

enum class TargetForm : uint8_t { kGguf, kHuggingFace, kCheckpoint };

struct ConvertOptions {
  TargetForm to = TargetForm::kGguf;
  /// Of matrices: F32, F16, BF16, and of GGUF Q8_0. Nothing: what the source has where the target can hold
  /// it, else F32, which holds all that quantised numbers can be. Of a checkpoint F32 or BF16: what it is computed in, since
  /// it keeps fp32; BF16 where all of the source is.
  std::optional<WeightType> type;
};

/// `out` (a file of GGUF, a folder of Hugging Face, the folder of a run) appears whole or not at all. Holds a matrix in
/// memory at a time, of a checkpoint all of them as fp32. Throws InputError where `out` is there already, or the target has no words for what the source is;
/// JobError where it cannot be written.
void convert(const std::filesystem::path& source, const std::filesystem::path& out, const ConvertOptions&);

}  // namespace shoal::formats
