#include "lower/storage.h"

#include <algorithm>
#include <tuple>

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
  std::map<std::pair<std::string, int>, const graph::Gradient*> gradients;
  for (const graph::Gradient& gradient : graph.gradients)
    gradients[{gradient.parameter, gradient.part}] = &gradient;
  Storage storage;
  storage.num_parts = graph.num_parts;
  std::map<std::string, size_t> position;  // of a parameter among the inputs: parts need not be neighbours
  std::vector<std::tuple<size_t, int, Unit>> found;
  for (const graph::Input& input : graph.inputs) {
    const auto gradient = gradients.find({input.name, input.part});
    if (input.kind != graph::InputKind::kParameter || gradient == gradients.end()) continue;
    const graph::TensorType& type = graph.type(input.value);
    Unit unit{.parameter = input.name,
              .part = input.part,
              .shape = type.shape,
              .dtype = dtype_of(input.name, type.dtype),
              .contributions = {},
              .numel = type.numel()};
    for (graph::ValueId id : gradient->second->contributions)
      unit.contributions.push_back(dtype_of(input.name, graph.type(id).dtype));
    if (const auto cut = graph.cuts.find(input.name); cut != graph.cuts.end()) storage.cuts.insert(*cut);
    const size_t place = position.try_emplace(input.name, position.size()).first->second;
    found.emplace_back(place, input.part, std::move(unit));
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
  });
  for (auto& [place, part, unit] : found) {
    unit.first_block = storage.num_blocks;
    storage.first.try_emplace(unit.parameter, storage.units.size());
    storage.num_blocks += num_blocks(unit.numel);
    storage.units.push_back(std::move(unit));
  }
  return storage;
}

std::optional<size_t> Storage::find(const std::string& parameter, int part) const {
  const auto found = first.find(parameter);
  if (found == first.end()) return std::nullopt;
  const size_t u = found->second + static_cast<size_t>(std::max(part, 0));
  const bool is_it = u < units.size() && units[u].part == part && units[u].parameter == parameter;
  return is_it ? std::optional(u) : std::nullopt;
}

std::vector<size_t> Storage::units_of(const std::string& parameter) const {
  std::vector<size_t> found;
  if (const auto start = first.find(parameter); start != first.end())
    for (size_t u = start->second; u < units.size() && units[u].parameter == parameter; ++u)
      found.push_back(u);
  return found;
}

std::vector<int64_t> Storage::global_shape(const Unit& unit) const {
  std::vector<int64_t> shape = unit.shape;
  if (unit.part != graph::kWhole) shape[static_cast<size_t>(cuts.at(unit.parameter).dim)] *= num_parts;
  return shape;
}

std::vector<Contribution> contributions_of(const graph::Graph& graph, const Storage& storage) {
  std::vector<Contribution> all;
  for (const graph::Gradient& gradient : graph.gradients) {
    const auto unit = storage.find(gradient.parameter, gradient.part);
    if (!unit || storage.units[*unit].contributions.size() != gradient.contributions.size())
      throw JobError(cat("storage - gradient of ", gradient.parameter, ": the graph has ",
                         gradient.contributions.size(), " contributions, the storage ",
                         unit ? storage.units[*unit].contributions.size() : 0));
    for (size_t c = 0; c < gradient.contributions.size(); ++c)
      if (gradient.contributions[c] != graph::kNoValue) all.push_back({*unit, c});
  }
  return all;
}

std::string print(const Storage& storage) {
  std::string text = cat("storage: ", storage.units.size(), " units in ", storage.num_blocks, " blocks\n");
  for (const Unit& unit : storage.units)
    text += cat(
        "  ", unit.parameter, unit.part == graph::kWhole ? "" : cat("#", unit.part, "of", storage.num_parts),
        " ", unit.dtype == comm::DType::kBF16 ? "bf16[" : "f32[", join(unit.shape, ","), "] blocks ",
        unit.first_block, "..", unit.first_block + num_blocks(unit.numel) - 1, ", ",
        unit.contributions.size(), unit.contributions.size() == 1 ? " contribution\n" : " contributions\n");
  return text;
}

}  // namespace shoal::lower
