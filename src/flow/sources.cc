#include "flow/sources.h"

#include <cmath>
#include <utility>

#include "base/random.h"
#include "base/text.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr double kMostOften = 1000;

}  // namespace

Sources::Sources(const Flow& flow, const PartSize& part_size) : seed_(flow.settings.seed) {
  const auto add_read = [&](const FlowRead& read, double weight, const std::string& place) {
    add(Source(read, part_size, place), weight, place);
  };
  add_read(flow.source, flow.weight, cat(flow.place, " - read"));
  for (size_t i = 0; i < flow.mixed.size(); ++i)
    add_read(flow.mixed[i].read, flow.mixed[i].weight, cat(flow.place, " - read ", i + 2));
}

Sources::Sources(Source source) { add(std::move(source), 1, ""); }

void Sources::add(Source source, double weight, const std::string& place) {
  if (!(weight >= 0 && weight <= kMostOften))
    throw InputError(cat(place, ": weight: got ", weight, ", want 0 to ", kMostOften));
  Weighted one{std::move(source), weight, {}};
  const SchemaPtr first = parts_of_.empty() ? one.source.schema() : schema();
  for (const auto& field : first->fields()) {
    const int column = column_of(*one.source.schema(), field->name());
    if (column < 0 || !one.source.schema()->field(column)->type()->Equals(field->type()))
      throw InputError(cat(place, ": columns: got ", join(names_of(*one.source.schema()), ", "), ", want ",
                           join(names_of(*first), ", "), " with the types of the first source; column ",
                           field->name(), column < 0 ? " is missing" : " has another type"));
    one.columns.push_back(column);
  }
  for (size_t part = 0; part < one.source.parts().size(); ++part)
    places_.emplace_back(parts_of_.size(), part);
  parts_of_.push_back(std::move(one));
}

void Sources::keep_columns(const Names& names) {
  if (parts_of_.size() == 1) parts_of_.front().source.keep_columns(names);
}

int64_t Sources::part_bytes(int64_t part) const {
  const auto [source, index] = places_[static_cast<size_t>(part)];
  return parts_of_[source].source.parts()[index].bytes;
}

std::string Sources::identity() const {
  std::string text;
  for (const Weighted& one : parts_of_) text += cat(one.source.identity(), "weight ", one.weight, "\n");
  return text + cat("seed ", seed_, "\n");
}

std::string Sources::describe() const {
  std::string text;
  for (const Weighted& one : parts_of_) {
    text += cat("  read ", one.source.files().size(), " files, ",
                human_bytes(static_cast<uint64_t>(one.source.bytes())), ", in ", one.source.parts().size(),
                " parts: ", join(one.source.spec().paths, ", "));
    text += one.weight == 1 ? "\n" : cat(", weight ", one.weight, "\n");
  }
  return text;
}

Sources::Count Sources::read(int64_t part, const std::function<void(const Batch&)>& take) const {
  const auto [source, index] = places_[static_cast<size_t>(part)];
  const Weighted& one = parts_of_[source];
  Count count{0, one.source.policy()};
  for (const Segment& segment : one.source.parts()[index].segments) {
    const auto reader = one.source.open(segment, count.bad);
    while (const Batch batch = reader->next()) {
      take(weighed(one, batch, part, count.rows));
      count.rows += batch->num_rows();
    }
  }
  return count;
}

/// The columns of the first source; each row so often as the weight says.
Batch Sources::weighed(const Weighted& one, const Batch& batch, int64_t part, int64_t first_row) const {
  Batch rows = batch;
  if (&one != &parts_of_.front())
    rows = value(batch->SelectColumns(one.columns), "mixture")->ReplaceSchemaMetadata(nullptr);
  if (one.weight == 1) return rows;
  const double whole = std::floor(one.weight);
  std::vector<int64_t> taken;
  for (int64_t row = 0; row < rows->num_rows(); ++row) {
    const double draw =
        random_unit(seed_, static_cast<uint64_t>(part), static_cast<uint64_t>(first_row + row));
    const int64_t times = static_cast<int64_t>(whole) + (draw < one.weight - whole ? 1 : 0);
    taken.insert(taken.end(), static_cast<size_t>(times), row);
  }
  return flow::take(rows, taken, "mixture");
}

std::string describe_read(const Flow& flow) {
  const auto one = [](const FlowRead& read, double weight) {
    return cat(join(read.paths, ", "), weight == 1 ? "" : cat(" (weight ", weight, ")"));
  };
  std::string text = "read " + one(flow.source, flow.weight);
  for (const FlowSource& more : flow.mixed) text += "; " + one(more.read, more.weight);
  return text;
}

}  // namespace shoal::flow
