#include "formats/converted_weights.h"

#include <cstring>

#include "base/text.h"
#include "formats/dequantise.h"
#include "formats/quantise.h"
#include "shoal/error.h"

namespace shoal::formats {
namespace {

Weight find(const ModelFile& source, const std::string& name) {
  const auto weight = source.weight(name);
  if (!weight) throw InputError(cat(source.place(), " - ", name, ": is missing"));
  return *weight;
}

/// The rows of all parts in the order of the target, one after the other.
template <class Visit>
void for_each_row(const ModelFile& source, const ConvertedTensor& tensor, const Visit& visit) {
  for (const std::string& name : tensor.parts) {
    const Weight weight = find(source, name);
    for (int64_t row = 0; row < weight.rows; ++row)
      visit(weight, tensor.is_vector || tensor.order.empty() ? row : tensor.order[static_cast<size_t>(row)]);
  }
}

}  // namespace

std::vector<int64_t> rotation_order(int64_t heads, int64_t head_width, int64_t rope_width, bool to_halves) {
  std::vector<int64_t> order;
  const int64_t half = rope_width / 2;
  for (int64_t head = 0; head < heads; ++head)
    for (int64_t i = 0; i < head_width; ++i) {
      int64_t from = i;
      if (i < rope_width) from = to_halves ? 2 * (i % half) + i / half : i / 2 + i % 2 * half;
      order.push_back(head * head_width + from);
    }
  return order;
}

void write_converted(const ModelFile& source, const ConvertedTensor& tensor,
                     const std::function<void(std::span<const std::byte>)>& write) {
  const auto round = [&](std::span<const float> values, std::vector<std::byte>& out) {
    const Weight row{tensor.type, 1, std::ssize(values), nullptr};
    out.resize(static_cast<size_t>(row.row_bytes()));
    if (!quantise_row(tensor.type, values.data(), std::ssize(values), out.data()))
      throw InputError(cat(source.place(), " - ", tensor.parts.front(), ": got a number that ",
                           info(tensor.type).name, " cannot hold, want --type bf16 or f32"));
  };
  std::vector<std::byte> bytes;
  std::vector<float> values;
  if (!tensor.made.empty()) return write(std::as_bytes(std::span(tensor.made)));
  if (tensor.transposed) {  // a whole matrix, of GPT-2
    std::vector<float> turned(static_cast<size_t>(tensor.rows * tensor.columns));
    int64_t to = 0;
    for_each_row(source, tensor, [&](const Weight& weight, int64_t row) {
      values.resize(static_cast<size_t>(weight.columns));
      dequantise_row(weight, row, values.data());
      for (int64_t column = 0; column < weight.columns; ++column)
        turned[static_cast<size_t>(column * tensor.rows + to)] = values[static_cast<size_t>(column)];
      ++to;
    });
    round(turned, bytes);
    return write(bytes);
  }
  for_each_row(source, tensor, [&](const Weight& weight, int64_t row) {
    if (weight.type == tensor.type && !(tensor.is_vector && !tensor.order.empty()))
      return write({weight.data + row * weight.row_bytes(), static_cast<size_t>(weight.row_bytes())});
    values.resize(static_cast<size_t>(weight.columns));
    dequantise_row(weight, row, values.data());
    if (tensor.is_vector && !tensor.order.empty()) {
      const std::vector<float> before = values;
      for (size_t i = 0; i < values.size(); ++i) values[i] = before[static_cast<size_t>(tensor.order[i])];
    }
    round(values, bytes);
    write(bytes);
  });
}

}  // namespace shoal::formats
