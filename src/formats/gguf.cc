// In the order of the file: header, metadata, tensors' names and shapes, tensors.
#include "formats/gguf.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "base/text.h"
#include "formats/shown.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

constexpr uint64_t kMostDims = 4;
constexpr size_t kMostName = 65'535;
constexpr int kMostNesting = 4;  // of arrays in arrays

constexpr std::array<size_t, 13> kTypeBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr std::array<const char*, 13> kTypeNames = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                    "bool", "string", "array", "u64", "i64", "f64"};

struct ElementType {
  uint32_t number;
  const char* name;
  std::optional<WeightType> type;
};
constexpr ElementType kElementTypes[] = {
    {0, "F32", WeightType::kF32},
    {1, "F16", WeightType::kF16},
    {2, "Q4_0", WeightType::kQ4_0},
    {3, "Q4_1", WeightType::kQ4_1},
    {6, "Q5_0", {}},
    {7, "Q5_1", {}},
    {8, "Q8_0", WeightType::kQ8_0},
    {9, "Q8_1", {}},
    {10, "Q2_K", {}},
    {11, "Q3_K", {}},
    {12, "Q4_K", WeightType::kQ4_K},
    {13, "Q5_K", {}},
    {14, "Q6_K", WeightType::kQ6_K},
    {15, "Q8_K", {}},
    {16, "IQ2_XXS", {}},
    {17, "IQ2_XS", {}},
    {18, "IQ3_XXS", {}},
    {19, "IQ1_S", {}},
    {20, "IQ4_NL", {}},
    {21, "IQ3_S", {}},
    {22, "IQ2_S", {}},
    {23, "IQ4_XS", {}},
    {24, "I8", {}},
    {25, "I16", {}},
    {26, "I32", {}},
    {27, "I64", {}},
    {28, "F64", {}},
    {29, "IQ1_M", {}},
    {30, "BF16", WeightType::kBF16},
    {34, "TQ1_0", {}},
    {35, "TQ2_0", {}},
    {39, "MXFP4", {}},
};

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// Goes through the file, and never past its end.
class Cursor {
 public:
  explicit Cursor(const MappedFile& file) : file_(file) {}

  std::span<const std::byte> take(uint64_t bytes, std::string_view what) {
    if (bytes > file_.bytes().size() - at_)
      throw InputError(cat(file_.place(), " - ", what, ": got an end of the file at byte ",
                           file_.bytes().size(), ", want ", bytes, " bytes from byte ", at_,
                           "; the file is cut off or damaged"));
    const auto taken = file_.bytes().subspan(at_, bytes);
    at_ += bytes;
    return taken;
  }
  template <class T>
  T number(std::string_view what) {
    return load<T>(take(sizeof(T), what).data());
  }
  std::string_view text(std::string_view what) {
    const auto bytes = take(number<uint64_t>(what), what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string name(std::string_view what) {
    const std::string_view name = text(what);
    if (name.empty() || name.size() > kMostName)
      throw InputError(
          cat(file_.place(), " - ", what, ": got a name of ", name.size(), " bytes, want 1 to ", kMostName));
    return std::string(name);
  }
  size_t at() const { return at_; }
  size_t left() const { return file_.bytes().size() - at_; }

 private:
  const MappedFile& file_;
  size_t at_ = 0;
};

GgufType read_type(Cursor& cursor, const std::string& place, const std::string& key) {
  const auto number = cursor.number<uint32_t>(key);
  if (number >= kTypeBytes.size())
    throw InputError(cat(place, " - ", shown(key), ": got type number ", number, ", want 0 to ",
                         kTypeBytes.size() - 1, ", which GGUF has"));
  return static_cast<GgufType>(number);
}

/// Goes past `count` elements. Each takes bytes, so that no count can make it go on for long.
void skip(Cursor& cursor, const std::string& place, const std::string& key, GgufType type, uint64_t count,
          int nesting) {
  if (type == GgufType::kString) {
    for (uint64_t i = 0; i < count; ++i) cursor.text(key);
  } else if (type == GgufType::kArray) {
    if (nesting >= kMostNesting)
      throw InputError(cat(place, " - ", shown(key), ": got arrays in arrays ", nesting,
                           " deep, want at most ", kMostNesting));
    for (uint64_t i = 0; i < count; ++i) {
      const GgufType inner = read_type(cursor, place, key);
      skip(cursor, place, key, inner, cursor.number<uint64_t>(key), nesting + 1);
    }
  } else {
    const size_t bytes = kTypeBytes[static_cast<size_t>(type)];
    if (count > cursor.left() / bytes)
      throw InputError(
          cat(place, " - ", shown(key), ": got ", count, " elements, which the file is too short for"));
    cursor.take(count * bytes, key);
  }
}

const ElementType* find_element_type(uint32_t number) {
  for (const ElementType& type : kElementTypes)
    if (type.number == number) return &type;
  return nullptr;
}

GgufFile::Tensor read_tensor(Cursor& cursor, const std::string& place, uint64_t index, uint64_t& offset) {
  GgufFile::Tensor tensor{cursor.name(cat("tensor ", index)), {}, {}};
  const std::string title = cat(place, " - ", shown(tensor.name));
  const auto dims = cursor.number<uint32_t>(tensor.name);
  if (dims < 1 || dims > kMostDims)
    throw InputError(cat(title, ": got ", dims, " dims, want 1 to ", kMostDims));
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  uint64_t elements = 1;
  for (uint32_t dim = 0; dim < dims; ++dim) {  // the innermost first
    const auto size = cursor.number<uint64_t>(tensor.name);
    if (size == 0 || size > kMost / elements)
      throw InputError(cat(title, ": got a size of ", size,
                           ", want one from 1, and a tensor of fewer than 2^63 elements"));
    elements *= size;
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  const auto number = cursor.number<uint32_t>(tensor.name);
  const ElementType* const type = find_element_type(number);
  if (!type || !type->type)
    throw InputError(
        cat(title, ": got elements of ", type ? cat("type ", type->name) : cat("type number ", number),
            ", want F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K; use a file of another quantisation"));
  tensor.weight = {*type->type, static_cast<int64_t>(elements) / tensor.shape.back(), tensor.shape.back(),
                   nullptr};
  const WeightTypeInfo& about = info(*type->type);
  if (tensor.weight.columns % about.block_elements != 0)
    throw InputError(cat(title, ": got rows of ", tensor.weight.columns, " elements, want a multiple of ",
                         about.block_elements, " for ", about.name));
  offset = cursor.number<uint64_t>(tensor.name);
  return tensor;
}

template <class T>
int64_t whole(const std::byte* from) {
  const T value = load<T>(from);
  if constexpr (std::is_same_v<T, uint64_t>)  // more than any count can be
    return value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())
               ? std::numeric_limits<int64_t>::max()
               : static_cast<int64_t>(value);
  return static_cast<int64_t>(value);
}

std::optional<int64_t> as_integer(GgufType type, const std::byte* from) {
  switch (type) {
    case GgufType::kU8:
      return whole<uint8_t>(from);
    case GgufType::kI8:
      return whole<int8_t>(from);
    case GgufType::kU16:
      return whole<uint16_t>(from);
    case GgufType::kI16:
      return whole<int16_t>(from);
    case GgufType::kU32:
      return whole<uint32_t>(from);
    case GgufType::kI32:
      return whole<int32_t>(from);
    case GgufType::kU64:
      return whole<uint64_t>(from);
    case GgufType::kI64:
      return whole<int64_t>(from);
    default:
      return std::nullopt;
  }
}

std::optional<double> as_real(GgufType type, const std::byte* from) {
  if (type == GgufType::kF32) return load<float>(from);
  if (type == GgufType::kF64) return load<double>(from);
  if (const auto integer = as_integer(type, from)) return static_cast<double>(*integer);
  return std::nullopt;
}

}  // namespace

uint32_t ggml_number(WeightType type) {
  for (const ElementType& known : kElementTypes)
    if (known.type == type) return known.number;
  return 0;
}

GgufFile::GgufFile(const std::filesystem::path& path) : file_(path, "a GGUF file") {
  static_assert(std::endian::native == std::endian::little, "GGUF's numbers are read as they lie in memory");
  Cursor cursor(file_);
  const std::string& place = file_.place();
  if (file_.bytes().size() < 24 || std::memcmp(cursor.take(4, "header").data(), "GGUF", 4) != 0)
    throw InputError(
        cat(place, " - header: got another format, want a GGUF file, which begins with \"GGUF\""));
  if (const auto version = cursor.number<uint32_t>("version"); version != 2 && version != 3)
    throw InputError(
        cat(place, " - version: got ",
            version == 0x02000000 || version == 0x03000000 ? std::string("a big-endian file") : cat(version),
            ", want 2 or 3, little-endian; convert the file"));
  const auto num_tensors = cursor.number<uint64_t>("tensors");
  const auto num_values = cursor.number<uint64_t>("metadata");

  for (uint64_t i = 0; i < num_values; ++i) {
    const std::string key = cursor.name(cat("metadata ", i));
    Value value{read_type(cursor, place, key), {}};
    if (value.type == GgufType::kArray) {
      value.is_array = true;
      value.type = read_type(cursor, place, key);
      value.count = cursor.number<uint64_t>(key);
    }
    const size_t begin = cursor.at();
    skip(cursor, place, key, value.type, value.count, 1);
    value.bytes = file_.bytes().subspan(begin, cursor.at() - begin);
    if (!metadata_.emplace(key, value).second)
      throw InputError(cat(place, " - ", shown(key), ": is there twice, want each key once"));
  }

  std::vector<uint64_t> offsets;
  std::set<std::string> names;
  for (uint64_t i = 0; i < num_tensors; ++i) {
    uint64_t offset = 0;
    tensors_.push_back(read_tensor(cursor, place, i, offset));
    offsets.push_back(offset);
    if (!names.insert(tensors_.back().name).second)
      throw InputError(
          cat(place, " - ", shown(tensors_.back().name), ": is there twice, want each tensor once"));
  }

  const int64_t alignment = integer("general.alignment").value_or(32);
  if (alignment < 8 || alignment > (1 << 20) || !std::has_single_bit(static_cast<uint64_t>(alignment)))
    throw InputError(
        cat(place, " - general.alignment: got ", alignment, ", want a power of two from 8 to 2^20"));
  const auto step = static_cast<uint64_t>(alignment);
  const uint64_t data = (cursor.at() + step - 1) / step * step, end = file_.bytes().size();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    Weight& weight = tensors_[i].weight;
    const std::string title = cat(place, " - ", shown(tensors_[i].name));
    if (offsets[i] % step != 0)
      throw InputError(cat(title, ": got offset ", offsets[i], ", want a multiple of ", alignment));
    const uint64_t room = data > end || offsets[i] > end - data ? 0 : end - data - offsets[i];
    // A block has at most as many bytes as its elements take as F32, so that no product overflows here.
    const WeightTypeInfo& about = info(weight.type);
    const auto blocks = static_cast<uint64_t>(weight.rows * (weight.columns / about.block_elements));
    if (blocks > room / static_cast<uint64_t>(about.block_bytes))
      throw InputError(cat(title, ": got data that would end after the file does, at byte ", end,
                           "; the file is cut off or damaged"));
    weight.data = file_.bytes().data() + data + offsets[i];
  }
}

InputError GgufFile::another_type(std::string_view key, const char* want) const {
  const Value& value = metadata_.find(key)->second;
  return InputError(cat(place(), " - ", key, ": got ", value.is_array ? "an array of " : "",
                        kTypeNames[static_cast<size_t>(value.type)], ", want ", want));
}

const GgufFile::Value* GgufFile::find(std::string_view key, bool is_array, const char* want) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return nullptr;
  if (found->second.is_array != is_array) throw another_type(key, want);
  return &found->second;
}

std::optional<int64_t> GgufFile::integer(std::string_view key) const {
  const Value* const value = find(key, false, "a whole number");
  if (!value) return std::nullopt;
  if (const auto number = as_integer(value->type, value->bytes.data())) return number;
  throw another_type(key, "a whole number");
}

std::optional<double> GgufFile::real(std::string_view key) const {
  const Value* const value = find(key, false, "a number");
  if (!value) return std::nullopt;
  const auto number = as_real(value->type, value->bytes.data());
  if (!number) throw another_type(key, "a number");
  if (!std::isfinite(*number))
    throw InputError(cat(place(), " - ", key, ": got ", *number, ", want a finite number"));
  return number;
}

std::optional<bool> GgufFile::flag(std::string_view key) const {
  const Value* const value = find(key, false, "a bool");
  if (!value) return std::nullopt;
  if (value->type != GgufType::kBool) throw another_type(key, "a bool");
  return value->bytes[0] != std::byte{0};
}

std::optional<std::string> GgufFile::text(std::string_view key) const {
  const Value* const value = find(key, false, "a string");
  if (!value) return std::nullopt;
  if (value->type != GgufType::kString) throw another_type(key, "a string");
  const auto bytes = value->bytes.subspan(sizeof(uint64_t));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::optional<std::vector<int64_t>> GgufFile::integers(std::string_view key) const {
  constexpr const char* kWant = "an array of whole numbers";
  const Value* const value = find(key, true, kWant);
  if (!value) return std::nullopt;
  std::vector<int64_t> all;
  const size_t bytes = kTypeBytes[static_cast<size_t>(value->type)];
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto number = as_integer(value->type, value->bytes.data() + i * bytes);
    if (!number) throw another_type(key, kWant);
    all.push_back(*number);
  }
  return all;
}

std::optional<std::vector<float>> GgufFile::reals(std::string_view key) const {
  const Value* const value = find(key, true, "an array of f32");
  if (!value) return std::nullopt;
  if (value->type != GgufType::kF32) throw another_type(key, "an array of f32");
  std::vector<float> all(value->count);
  if (!all.empty()) std::memcpy(all.data(), value->bytes.data(), value->bytes.size());
  return all;
}

std::optional<std::vector<std::string>> GgufFile::texts(std::string_view key) const {
  const Value* const value = find(key, true, "an array of strings");
  if (!value) return std::nullopt;
  if (value->type != GgufType::kString) throw another_type(key, "an array of strings");
  std::vector<std::string> all;
  size_t at = 0;
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto size = load<uint64_t>(value->bytes.data() + at);
    all.emplace_back(reinterpret_cast<const char*>(value->bytes.data()) + at + sizeof size, size);
    at += sizeof size + size;
  }
  return all;
}

}  // namespace shoal::formats
