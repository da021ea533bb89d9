// GGUF, version 2 and 3: metadata by key and tensors by name in one file
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Everything is checked before it is used: a
// file that lies costs an InputError and no memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/mapped_file.h"
#include "formats/model_file.h"
#include "shoal/error.h"

namespace shoal::formats {

/// The types of metadata, by their numbers in the file.
enum class GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

/// ggml's numbers of the types of elements, those that can be read.
uint32_t ggml_number(WeightType);

class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path&);

  /// A value as it lies in the file; of an array the elements' type, their count, and where they begin.
  struct Value {
    GgufType type;
    std::span<const std::byte> bytes;
    bool is_array = false;
    uint64_t count = 1;
  };
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;  // rows before columns, as in LibTorch
    Weight weight;               // as a matrix: all dims but the last are rows
  };

  const std::string& place() const { return file_.place(); }
  const std::map<std::string, Value, std::less<>>& metadata() const { return metadata_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }
  bool has(std::string_view key) const { return metadata_.contains(key); }

  /// Values by key; nothing where the file does not have it. Throw InputError where it has another type.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> real(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;
  std::optional<std::vector<float>> reals(std::string_view key) const;
  std::optional<std::vector<std::string>> texts(std::string_view key) const;

 private:
  const Value* find(std::string_view key, bool is_array, const char* want) const;
  InputError another_type(std::string_view key, const char* want) const;

  MappedFile file_;
  std::map<std::string, Value, std::less<>> metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace shoal::formats
