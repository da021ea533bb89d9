// Reading the safetensors format (https://github.com/huggingface/safetensors#format); state/safetensors.h writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "formats/mapped_file.h"

namespace shoal::formats {

class SafetensorsFile {
 public:
  /// Maps the file and checks its header: every tensor inside the file, of the size that its type and shape say,
  /// and no byte that belongs to none or two. Throws InputError.
  explicit SafetensorsFile(const std::filesystem::path&);

  struct Tensor {
    std::string dtype;  // "F32", "BF16"...
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;  // not always aligned to an element
  };
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::string& place() const { return file_.place(); }

 private:
  MappedFile file_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace shoal::formats
