#include "shoal/flow.h"

#include "base/text.h"

namespace shoal {

Flow& Flow::add(const char* name, decltype(FlowStep::what) what) {
  steps.push_back({cat(place, " - step ", steps.size() + 1, ", ", name), std::move(what)});
  return *this;
}

Flow& Flow::read(FlowRead read, double how_often) {
  source = std::move(read);
  weight = how_often;
  return *this;
}
Flow& Flow::mix(FlowSource more) {
  mixed.push_back(std::move(more));
  return *this;
}
Flow& Flow::write(FlowWrite write) {
  sink = std::move(write);
  return *this;
}
Flow& Flow::filter(std::string expression) {
  return add("filter", flow_steps::Filter{std::move(expression)});
}
Flow& Flow::select(std::vector<std::pair<std::string, std::string>> columns) {
  return add("select", flow_steps::Select{std::move(columns)});
}
Flow& Flow::with_column(std::string name, std::string expression) {
  return add("with_column", flow_steps::WithColumn{{{std::move(name), std::move(expression)}}});
}
Flow& Flow::flat_map(std::string column, std::string by, std::string as) {
  return add("flat_map", flow_steps::FlatMap{std::move(column), std::move(as), std::move(by)});
}
Flow& Flow::map(std::string name, FlowFunction function, std::shared_ptr<arrow::Schema> schema) {
  return add("map", flow_steps::Map{std::move(name), std::move(function), std::move(schema)});
}
Flow& Flow::sample(double fraction, uint64_t seed) {
  return add("sample", flow_steps::Sample{fraction, seed});
}
Flow& Flow::distinct(std::vector<std::string> by) {
  return add("distinct", flow_steps::Distinct{std::move(by)});
}
Flow& Flow::near_duplicates(flow_steps::NearDuplicates step) {
  return add("near_duplicates", std::move(step));
}
Flow& Flow::group_by(std::vector<std::string> by, std::vector<FlowAggregate> aggregates) {
  return add("group_by", flow_steps::GroupBy{std::move(by), std::move(aggregates)});
}
Flow& Flow::sort(std::vector<std::string> by) { return add("sort", flow_steps::Sort{std::move(by)}); }
Flow& Flow::shuffle(uint64_t seed, std::vector<std::string> by) {
  return add("shuffle", flow_steps::Shuffle{std::move(by), seed});
}
Flow& Flow::split(std::vector<std::string> by, std::vector<std::pair<std::string, double>> parts,
                  uint64_t seed) {
  return add("split", flow_steps::Split{std::move(by), std::move(parts), seed});
}
Flow& Flow::join(FlowJoin join) { return add("join", std::move(join)); }
Flow& Flow::window(std::vector<std::string> by, std::vector<std::string> order,
                   std::vector<FlowWindowColumn> columns) {
  return add("window", flow_steps::Window{std::move(by), std::move(order), std::move(columns)});
}

}  // namespace shoal
