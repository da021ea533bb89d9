// What `shoal data show` prints of a sample store.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/text.h"
#include "data/sample_shards.h"

namespace shoal::data {

namespace {

constexpr int64_t kShownSamples = 3, kShownNumbers = 6;  // of each split, of each field
constexpr int kBars = 8, kBarWidth = 40;

float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16, exponent = (half >> 10) & 31u,
                 fraction = half & 1023u;
  float value;
  if (exponent == 0) {
    value = static_cast<float>(fraction) * 0x1p-24F;
  } else {
    const uint32_t bits = (exponent == 31 ? 0x7F800000u : (exponent + 112) << 23) | fraction << 13;
    std::memcpy(&value, &bits, sizeof value);
  }
  return sign != 0 ? -value : value;
}

template <class Number>
Number read(const std::byte* at) {
  Number number;
  std::memcpy(&number, at, sizeof number);
  return number;
}

std::string number_text(SampleType type, const std::byte* at) {
  switch (type) {
    case SampleType::kU8:
    case SampleType::kBool:
      return cat(static_cast<int>(read<uint8_t>(at)));
    case SampleType::kI8:
      return cat(static_cast<int>(read<int8_t>(at)));
    case SampleType::kI16:
      return cat(read<int16_t>(at));
    case SampleType::kI32:
      return cat(read<int32_t>(at));
    case SampleType::kI64:
      return cat(read<int64_t>(at));
    case SampleType::kF16:
      return cat(half_to_float(read<uint16_t>(at)));
    case SampleType::kBF16: {
      const uint32_t bits = uint32_t{read<uint16_t>(at)} << 16;
      return cat(read<float>(reinterpret_cast<const std::byte*>(&bits)));
    }
    case SampleType::kF32:
      return cat(read<float>(at));
    case SampleType::kF64:
      return cat(read<double>(at));
  }
  return "";
}

std::string value_text(const SampleField& field, const FieldValue& value) {
  const int64_t size = bytes_of(field.type), count = static_cast<int64_t>(value.bytes.size()) / size;
  std::vector<std::string> numbers;
  for (int64_t i = 0; i < std::min(count, kShownNumbers); ++i)
    numbers.push_back(number_text(field.type, value.bytes.data() + i * size));
  if (count > kShownNumbers) numbers.push_back("...");
  return cat(field.name, field.varies() ? cat(" (", value.length, ")") : std::string(), " ",
             join(numbers, " "));
}

/// A key on one line, however strange.
std::string key_text(std::string_view key) {
  std::string text(key.substr(0, 60));
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  return text;
}

std::string histogram(const SampleField& field, const std::vector<int64_t>& lengths) {
  if (lengths.empty()) return "";
  const int64_t step = field.longest / kBars + 1;
  std::vector<int64_t> counts(static_cast<size_t>(field.longest / step) + 1);
  for (int64_t length : lengths) ++counts[static_cast<size_t>(length / step)];
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  std::string text = cat("lengths of ", field.name, "\n");
  for (size_t i = 0; i < counts.size(); ++i) {
    const int64_t low = static_cast<int64_t>(i) * step;
    char line[96];
    std::snprintf(line, sizeof line, "  %8lld to %-8lld %8lld ", static_cast<long long>(low),
                  static_cast<long long>(low + step - 1), static_cast<long long>(counts[i]));
    text += line + std::string(static_cast<size_t>((counts[i] * kBarWidth + most - 1) / most), '#') + "\n";
  }
  return text;
}

}  // namespace

std::string SampleShards::describe() const {
  std::string text = cat(folder_.string(), ": a sample store\n");
  for (const SampleField& field : manifest_.fields)
    text += cat("  field      ", field.name, ": ", type_text(field.type, field.shape),
                field.varies() ? cat(", the longest ", field.longest) : std::string(),
                field.classes.empty()
                    ? std::string()
                    : cat(", of ", field.classes.size(), " classes: ", join(field.classes, ", ")),
                "\n");
  for (Split split : kSplits) {
    uint64_t bytes = 0;
    for (const SampleManifest::Shard& shard : manifest_[split].shards)
      bytes += static_cast<uint64_t>(shard.bytes);
    std::string name(split_name(split));
    name.resize(10, ' ');
    text += cat("  ", name, " ", num_samples(split), " samples, ", human_bytes(bytes), " in ",
                manifest_[split].shards.size(), " shards\n");
  }
  for (size_t f = 0; f < manifest_.fields.size(); ++f) {
    if (!manifest_.fields[f].varies()) continue;
    std::vector<int64_t> lengths;
    for (Split split : kSplits) {
      for (int64_t i = 0; i < num_samples(split); ++i) lengths.push_back(sample(split, i).values[f].length);
    }
    text += histogram(manifest_.fields[f], lengths);
  }
  for (Split split : kSplits) {
    for (int64_t i = 0; i < std::min(num_samples(split), kShownSamples); ++i) {
      const SampleView view = sample(split, i);
      text += cat(split_name(split), " ", i, ": ", key_text(view.key), "\n");
      for (size_t f = 0; f < manifest_.fields.size(); ++f)
        text += cat("  ", value_text(manifest_.fields[f], view.values[f]), "\n");
    }
  }
  return text;
}

}  // namespace shoal::data
