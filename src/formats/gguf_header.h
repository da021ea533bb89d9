// Writing GGUF: all that precedes the tensors' data (gguf.h reads it).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"

namespace shoal::formats {

/// Metadata and tensors in the order in which they are added; each key and name once.
class GgufHeader {
 public:
  static constexpr int64_t kAlignment = 32;  // each tensor's data begins at a multiple of it, after zeros

  void text(std::string_view key, std::string_view value);
  void integer(std::string_view key, uint32_t value);
  void real(std::string_view key, float value);
  void flag(std::string_view key, bool value);
  void texts(std::string_view key, std::span<const std::string> values);
  void integers(std::string_view key, std::span<const int32_t> values);
  void reals(std::string_view key, std::span<const float> values);
  void copy(std::string_view key, const GgufFile::Value& value);
  /// A row where `is_vector`, else a matrix; the data follows that of the tensor before.
  void tensor(std::string_view name, const Weight& weight, bool is_vector);

  std::string bytes() const;
  static int64_t padded(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

 private:
  void begin(std::string_view key, GgufType type);
  void begin_array(std::string_view key, GgufType type, uint64_t count);

  std::string metadata_, tensors_;
  uint64_t num_values_ = 0, num_tensors_ = 0;
  int64_t data_bytes_ = 0;
};

}  // namespace shoal::formats
