#include "formats/safetensors_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.h"
#include "formats/json_text.h"
#include "formats/shown.h"
#include "shoal/error.h"
#include "state/safetensors.h"

namespace shoal::formats {
namespace {

constexpr uint64_t kMostHeader = 16 << 20;  // some 100,000 tensors
constexpr int kHeaderDepth = 4;

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path, "a safetensors file") {
  static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");
  const std::span<const std::byte> bytes = file_.bytes();
  uint64_t length = 0;
  if (bytes.size() >= sizeof length) std::memcpy(&length, bytes.data(), sizeof length);
  if (length < 2 || length > bytes.size() - sizeof length)
    throw InputError(cat(place(), " - header: got a length of ", length, " in a file of ", bytes.size(),
                         " bytes, want a safetensors file; it is cut off or damaged"));
  if (length > kMostHeader)
    throw InputError(cat(place(), " - header: got a length of ", length, " bytes, want at most ", kMostHeader));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof length, length);
  const nlohmann::json header = parse_object(text, place(), kHeaderDepth);
  const std::span<const std::byte> data = bytes.subspan(sizeof length + length);

  std::vector<std::pair<uint64_t, uint64_t>> places;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const std::string title = cat(place(), " - ", shown(name));
    if (!entry.is_object()) throw InputError(cat(title, ": got ", entry.type_name(), ", want an object"));
    const Members members(entry, place(), shown(name) + ".");
    Tensor tensor{members.text("dtype").value_or(""), members.integers("shape"), {}};
    const int64_t size = state::element_bytes(tensor.dtype);
    if (size == 0) throw InputError(cat(title, ": got dtype ", shown(tensor.dtype), ", which safetensors does not have"));
    int64_t total = size;
    for (const int64_t dim : tensor.shape)
      if (dim < 0 || __builtin_mul_overflow(total, dim, &total))
        throw InputError(cat(title, ": got a size of ", dim, " in its shape, want a tensor that the file can hold"));
    const std::vector<int64_t> offsets = members.integers("data_offsets");
    if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0] ||
        static_cast<uint64_t>(offsets[1]) > data.size() || offsets[1] - offsets[0] != total)
      throw InputError(cat(title, ".data_offsets: got [", join(offsets, ", "), "], want ", total, " bytes inside of the ",
                           data.size(), " that the file has; it is cut off or damaged"));
    places.emplace_back(offsets[0], offsets[1]);
    tensor.bytes = data.subspan(places.back().first, static_cast<size_t>(total));
    tensors_.emplace(name, std::move(tensor));
  }
  std::ranges::sort(places);
  uint64_t at = 0;
  for (const auto& [begin, end] : places) {
    if (begin != at)
      throw InputError(cat(place(), " - data_offsets: got a tensor at byte ", begin, ", want it at ", at,
                           ", where the one before ends; the file is damaged"));
    at = end;
  }
  if (at != data.size())
    throw InputError(cat(place(), " - data: got ", data.size(), " bytes, want ", at, ", where the last tensor ends"));
}

}  // namespace shoal::formats
