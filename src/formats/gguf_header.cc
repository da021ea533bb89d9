#include "formats/gguf_header.h"

#include "formats/weight_table.h"

namespace shoal::formats {
namespace {

template <class T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void append_text(std::string& out, std::string_view value) {
  append(out, static_cast<uint64_t>(value.size()));
  out += value;
}
template <class T>
void append_all(std::string& out, std::span<const T> values) {
  out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

}  // namespace

void GgufHeader::begin(std::string_view key, GgufType type) {
  ++num_values_;
  append_text(metadata_, key);
  append(metadata_, type);
}
void GgufHeader::begin_array(std::string_view key, GgufType type, uint64_t count) {
  begin(key, GgufType::kArray);
  append(metadata_, type);
  append(metadata_, count);
}
void GgufHeader::text(std::string_view key, std::string_view value) {
  begin(key, GgufType::kString);
  append_text(metadata_, value);
}
void GgufHeader::integer(std::string_view key, uint32_t value) {
  begin(key, GgufType::kU32);
  append(metadata_, value);
}
void GgufHeader::real(std::string_view key, float value) {
  begin(key, GgufType::kF32);
  append(metadata_, value);
}
void GgufHeader::flag(std::string_view key, bool value) {
  begin(key, GgufType::kBool);
  metadata_ += static_cast<char>(value);
}
void GgufHeader::texts(std::string_view key, std::span<const std::string> values) {
  begin_array(key, GgufType::kString, values.size());
  for (const std::string& value : values) append_text(metadata_, value);
}
void GgufHeader::integers(std::string_view key, std::span<const int32_t> values) {
  begin_array(key, GgufType::kI32, values.size());
  append_all(metadata_, values);
}
void GgufHeader::reals(std::string_view key, std::span<const float> values) {
  begin_array(key, GgufType::kF32, values.size());
  append_all(metadata_, values);
}
void GgufHeader::copy(std::string_view key, const GgufFile::Value& value) {
  if (value.is_array)
    begin_array(key, value.type, value.count);
  else
    begin(key, value.type);
  append_all(metadata_, value.bytes);
}

void GgufHeader::tensor(std::string_view name, const Weight& weight, bool is_vector) {
  ++num_tensors_;
  append_text(tensors_, name);
  append(tensors_, uint32_t{is_vector ? 1u : 2u});
  append(tensors_, static_cast<uint64_t>(weight.columns));
  if (!is_vector) append(tensors_, static_cast<uint64_t>(weight.rows));
  append(tensors_, ggml_number(weight.type));
  append(tensors_, static_cast<uint64_t>(data_bytes_));
  data_bytes_ += padded(bytes_of(weight));
}

std::string GgufHeader::bytes() const {
  std::string out = "GGUF";
  append(out, uint32_t{3});
  append(out, num_tensors_);
  append(out, num_values_);
  out += metadata_ + tensors_;
  out.resize(static_cast<size_t>(padded(static_cast<int64_t>(out.size()))), '\0');
  return out;
}

}  // namespace shoal::formats
