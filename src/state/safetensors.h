// Writing the safetensors format (docs/checkpoint_format.md): a header that says what the bytes after it are.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::state {

/// Bytes of one element of a safetensors dtype ("F32", "BF16", "I64"...); 0 for a name that the format does
/// not have.
int64_t element_bytes(std::string_view dtype);

struct SafetensorsEntry {
  std::string key;
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t bytes;
};

/// All that precedes the data of a file that holds these entries in this order without gaps: a multiple of 64
/// bytes. REQUIRES: the keys are unique; entries with larger elements come first, so that each is aligned to
/// its own element size.
std::string safetensors_header(std::span<const SafetensorsEntry> entries);

}  // namespace shoal::state
