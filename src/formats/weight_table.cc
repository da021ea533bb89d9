#include "formats/weight_table.h"

#include <utility>

#include "base/text.h"
#include "formats/model_shape.h"
#include "formats/shown.h"
#include "shoal/error.h"

namespace shoal::formats {

void WeightTable::add(const std::string& name, const Weight& weight) { add(name, weight, nullptr); }

void WeightTable::add(const std::string& name, const Weight& weight, std::function<Bytes()> make) {
  auto entry = std::make_unique<Entry>();
  entry->weight = weight;
  entry->make = std::move(make);
  entries_[name] = std::move(entry);
}

std::optional<Weight> WeightTable::find(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return std::nullopt;
  Entry& entry = *found->second;
  if (!entry.make) return entry.weight;
  std::call_once(entry.once, [&] { entry.bytes = entry.make(); });
  Weight weight = entry.weight;
  weight.data = entry.bytes.get();
  return weight;
}

std::vector<std::string> WeightTable::names() const {
  std::vector<std::string> all;
  for (const auto& [name, entry] : entries_) all.push_back(name);
  return all;
}

void WeightTable::check(const ModelConfig& config, const std::string& place) const {
  std::map<std::string, bool> used;
  const auto check_all = [&](const std::vector<WantedWeight>& wanted) {
    for (const WantedWeight& want : wanted) {
      const auto found = entries_.find(want.name);
      if (found == entries_.end()) {
        if (want.optional) continue;
        throw InputError(cat(place, " - ", want.name, ": is missing, want a weight [", want.rows, ", ",
                             want.columns, "]; the file is incomplete"));
      }
      const Weight& got = found->second->weight;
      const std::string title = cat(place, " - ", want.name);
      if (got.rows != want.rows || got.columns != want.columns)
        throw InputError(cat(title, ": got shape [", got.rows, ", ", got.columns, "], want [", want.rows,
                             ", ", want.columns, "], as the hyperparameters say"));
      if (want.rows == 1 && !want.name.ends_with("embd.weight") && info(got.type).block_elements > 1)
        throw InputError(cat(title, ": got ", info(got.type).name, ", want F32, F16 or BF16 for a vector"));
      used[want.name] = true;
    }
  };
  check_all(weights_around(config));
  for (int64_t layer = 0; layer < config.layers; ++layer) check_all(weights_of_layer(config, layer));
  for (const auto& [name, entry] : entries_)
    if (!used.contains(name))
      throw InputError(cat(place, " - ", shown(name),
                           ": a weight that no model of this kind has; want the Llama family "
                           "or GPT-2 as docs/model_files.md describes them"));
}

}  // namespace shoal::formats
