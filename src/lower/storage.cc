#include "lower/storage.h"

#include <map>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

comm::DType dtype_of(const std::string& what, c10::ScalarType dtype) {
  if (dtype == c10::ScalarType::Float) return comm::DType::kF32;
  if (dtype == c10::ScalarType::BFloat16) return comm::DType::kBF16;
  throw InputError(cat("parameter ", what, " - dtype: got ", graph::dtype_name(dtype),
                       ", want f32; other dtypes cannot be trained yet, freeze it or convert it"));
}

}  // namespace

Storage plan_storage(const graph::Graph& graph) {
  std::map<std::string, const graph::Gradient*> gradients;
  for (const graph::Gradient& gradient : graph.gradients) gradients[gradient.parameter] = &gradient;
  Storage storage;
  for (const graph::Input& input : graph.inputs) {
    const auto gradient = gradients.find(input.name);
    if (input.kind != graph::InputKind::kParameter || gradient == gradients.end()) continue;
    const graph::TensorType& type = graph.type(input.value);
    StoredParameter parameter{
        input.name,           type.shape, type.numel(),      dtype_of(input.name, type.dtype),
        storage.weight_bytes, {},         storage.num_blocks};
    storage.weight_bytes +=
        align_up(parameter.numel * static_cast<int64_t>(comm::element_bytes(parameter.dtype)));
    for (graph::ValueId id : gradient->second->contributions) {
      parameter.contributions.push_back({dtype_of(input.name, graph.type(id).dtype), storage.slot_bytes});
      storage.slot_bytes += align_up(parameter.numel * static_cast<int64_t>(sizeof(float)));
    }
    storage.num_blocks += num_blocks(parameter.numel);
    storage.parameters.push_back(std::move(parameter));
  }
  return storage;
}

std::string print(const Storage& storage) {
  std::string text = cat("storage: ", storage.parameters.size(), " parameters in ", storage.num_blocks,
                         " blocks, weights ", human_bytes(static_cast<uint64_t>(storage.weight_bytes)),
                         ", a gradient slot ", human_bytes(static_cast<uint64_t>(storage.slot_bytes)), "\n");
  for (const StoredParameter& parameter : storage.parameters)
    text += cat("  ", parameter.name, " ", parameter.dtype == comm::DType::kBF16 ? "bf16[" : "f32[",
                join(parameter.shape, ","), "] blocks ", parameter.first_block, "..",
                parameter.first_block + num_blocks(parameter.numel) - 1, ", ", parameter.contributions.size(),
                parameter.contributions.size() == 1 ? " contribution\n" : " contributions\n");
  return text;
}

std::vector<Piece> Storage::owned(int size, int rank) const {
  int64_t total = 0;
  for (const StoredParameter& parameter : parameters) total += parameter.numel;
  // Block b belongs to the device in whose share of all elements its middle lies.
  const auto owner = [&](int64_t middle) {
    return static_cast<int>(middle * size / std::max<int64_t>(total, 1));
  };
  std::vector<Piece> pieces;
  int64_t before = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    for (int64_t begin = 0; begin < parameters[i].numel; begin += kBlockElements) {
      const int64_t end = std::min(begin + kBlockElements, parameters[i].numel);
      if (owner(before + (begin + end) / 2) != rank) continue;
      if (!pieces.empty() && pieces.back().parameter == i && pieces.back().elements.end == begin)
        pieces.back().elements.end = end;
      else
        pieces.push_back({i, {begin, end}});
    }
    before += parameters[i].numel;
  }
  return pieces;
}

}  // namespace shoal::lower
