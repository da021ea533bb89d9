#include "state/safetensors.h"

#include <bit>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/blocks.h"

namespace shoal::state {

static_assert(std::endian::native == std::endian::little,
              "safetensors is little-endian, and bytes are written as they lie in memory");

int64_t element_bytes(std::string_view dtype) {
  static constexpr std::pair<std::string_view, int64_t> kDTypes[] = {
      {"F64", 8}, {"I64", 8}, {"U64", 8},  {"F32", 4},     {"I32", 4},
      {"U32", 4}, {"F16", 2}, {"BF16", 2}, {"I16", 2},     {"U16", 2},
      {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
  };
  for (const auto& [name, bytes] : kDTypes) {
    if (name == dtype) return bytes;
  }
  return 0;
}

std::string safetensors_header(std::span<const SafetensorsEntry> entries) {
  nlohmann::json header;
  header["__metadata__"] = {{"format", "pt"}};  // readers that ask whose tensors these are know this word
  int64_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    header[entry.key] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {offset, offset + entry.bytes}}};
    offset += entry.bytes;
  }
  std::string text = header.dump();
  text.resize(align_up(sizeof(uint64_t) + text.size()) - sizeof(uint64_t), ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text;
}

}  // namespace shoal::state
