#include "flow/parse_flow.h"

#include <toml++/toml.h>

#include <charconv>
#include <functional>
#include <map>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {
namespace fs = std::filesystem;
namespace steps = flow_steps;

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// A value, with what a message about it needs.
struct Entry {
  std::string place;  // "words.toml:3 - filter"
  const toml::node& node;

  [[noreturn]] void refuse(std::string_view want) const {
    throw InputError(cat(place, ": got ",
                         node.is_table()    ? "a table"
                         : node.is_array()  ? "a list"
                         : node.is_string() ? "a string"
                                            : "something else",
                         ", want ", want));
  }
  std::string text() const {
    if (!node.is_string()) refuse("a string in quotes");
    return node.as_string()->get();
  }
  std::vector<std::string> texts() const {
    if (node.is_string()) return {text()};
    if (!node.is_array()) refuse("a list of strings");
    std::vector<std::string> result;
    for (const toml::node& item : *node.as_array()) result.push_back(Entry{place, item}.text());
    return result;
  }
  bool truth() const {
    if (!node.is_boolean()) refuse("true or false");
    return node.as_boolean()->get();
  }
  double number() const {
    if (node.is_integer()) return static_cast<double>(node.as_integer()->get());
    if (!node.is_floating_point()) refuse("a number");
    return node.as_floating_point()->get();
  }
  int64_t whole() const {
    if (!node.is_integer() || node.as_integer()->get() < 0) refuse("a whole number, at least 0");
    return node.as_integer()->get();
  }
  std::vector<int64_t> dims() const {
    if (!node.is_array()) refuse("a list of dims, as in [3, 32, 32]");
    std::vector<int64_t> result;
    for (const toml::node& item : *node.as_array()) {
      if (!item.is_integer()) refuse("a list of dims, as in [3, 32, 32]");
      result.push_back(item.as_integer()->get());
    }
    return result;
  }
  /// 4096, "64KB", "2GB": powers of 1,024.
  int64_t bytes() const {
    if (node.is_integer()) return whole();
    const std::string written = text();
    double amount = 0;
    const auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), amount);
    static const std::map<std::string, int> kShifts = {{"", 0},    {"B", 0},   {"KB", 10},
                                                       {"MB", 20}, {"GB", 30}, {"TB", 40}};
    const auto shift = kShifts.find(std::string(end, written.data() + written.size()));
    if (error != std::errc() || shift == kShifts.end() || amount < 0)
      throw InputError(cat(place, ": got ", written, ", want bytes, as in \"2GB\" or \"64KB\""));
    return static_cast<int64_t>(amount * static_cast<double>(int64_t{1} << shift->second));
  }
  const toml::table& table() const {
    if (!node.is_table()) refuse("a table, as in { name = \"...\" }");
    return *node.as_table();
  }
};

/// The members of a table as they stand in the file: their order is that of the columns.
std::vector<std::pair<std::string, Entry>> members(const toml::table& table, const std::string& place) {
  std::map<std::pair<toml::source_index, toml::source_index>, std::pair<std::string, Entry>> found;
  for (const auto& [key, node] : table) {
    const auto& begin = key.source().begin;
    found.insert(
        {{begin.line, begin.column}, {std::string(key.str()), Entry{cat(place, ", ", key.str()), node}}});
  }
  std::vector<std::pair<std::string, Entry>> ordered;
  for (auto& [unused, member] : found) ordered.push_back(member);
  return ordered;
}

Pairs text_pairs(const Entry& entry) {
  Pairs pairs;
  for (const auto& [name, value] : members(entry.table(), entry.place))
    pairs.emplace_back(name, value.text());
  return pairs;
}

using Setters = std::map<std::string, std::function<void(const Entry&)>>;

void set_all(const toml::table& table, const std::string& place, const Setters& setters) {
  for (const auto& [key, entry] : members(table, place)) {
    const auto setter = setters.find(key);
    if (setter == setters.end()) {
      std::vector<std::string> known;
      for (const auto& [name, unused] : setters) known.push_back(name);
      const std::string guess = nearest(key, known);
      throw InputError(cat(place, ": unknown key: got ", key, ", want ",
                           guess.empty() ? cat("one of ", join(known, ", ")) : guess));
    }
    setter->second(entry);
  }
}

Setters read_setters(FlowRead& read) {
  return {{"paths", [&](const Entry& e) { read.paths = e.texts(); }},
          {"format", [&](const Entry& e) { read.format = e.text(); }},
          {"columns", [&](const Entry& e) { read.columns = text_pairs(e); }},
          {"header", [&](const Entry& e) { read.header = e.truth(); }},
          {"bad_records", [&](const Entry& e) { read.bad_records = e.text(); }}};
}

template <class Named>
std::vector<Named> calls(const Entry& entry) {
  std::vector<Named> columns;
  for (const auto& [name, call] : text_pairs(entry)) columns.push_back({name, call});
  return columns;
}

FlowStep join_step(const Entry& entry) {
  FlowJoin join;
  Setters setters = read_setters(join.right);
  setters["on"] = [&](const Entry& e) { join.on = e.texts(); };
  setters["kind"] = [&](const Entry& e) { join.kind = e.text(); };
  set_all(entry.table(), entry.place, setters);
  return {entry.place, join};
}

FlowStep window_step(const Entry& entry) {
  steps::Window window;
  set_all(entry.table(), entry.place,
          {{"by", [&](const Entry& e) { window.by = e.texts(); }},
           {"order", [&](const Entry& e) { window.order = e.texts(); }},
           {"columns", [&](const Entry& e) { window.columns = calls<FlowWindowColumn>(e); }}});
  return {entry.place, window};
}

FlowStep flat_map_step(const Entry& entry) {
  steps::FlatMap flat{"", "", "words"};
  set_all(entry.table(), entry.place,
          {{"column", [&](const Entry& e) { flat.column = e.text(); }},
           {"by", [&](const Entry& e) { flat.by = e.text(); }},
           {"as", [&](const Entry& e) { flat.as = e.text(); }}});
  return {entry.place, flat};
}

FlowStep sample_step(const Entry& entry) {
  steps::Sample sample{1, 0};
  set_all(entry.table(), entry.place,
          {{"fraction", [&](const Entry& e) { sample.fraction = e.number(); }},
           {"seed", [&](const Entry& e) { sample.seed = static_cast<uint64_t>(e.whole()); }}});
  return {entry.place, sample};
}

FlowStep near_duplicates_step(const Entry& entry) {
  steps::NearDuplicates near;
  set_all(entry.table(), entry.place,
          {{"column", [&](const Entry& e) { near.column = e.text(); }},
           {"shingles", [&](const Entry& e) { near.shingles = e.text(); }},
           {"bands", [&](const Entry& e) { near.bands = e.whole(); }},
           {"rows", [&](const Entry& e) { near.rows = e.whole(); }},
           {"similarity", [&](const Entry& e) { near.similarity = e.number(); }},
           {"seed", [&](const Entry& e) { near.seed = static_cast<uint64_t>(e.whole()); }}});
  return {entry.place, near};
}

FlowStep shuffle_step(const Entry& entry) {
  steps::Shuffle shuffle;
  set_all(entry.table(), entry.place,
          {{"by", [&](const Entry& e) { shuffle.by = e.texts(); }},
           {"seed", [&](const Entry& e) { shuffle.seed = static_cast<uint64_t>(e.whole()); }}});
  return {entry.place, shuffle};
}

FlowStep split_step(const Entry& entry) {
  steps::Split split;
  set_all(entry.table(), entry.place,
          {{"by", [&](const Entry& e) { split.by = e.texts(); }},
           {"parts",
            [&](const Entry& e) {
              for (const auto& [name, share] : members(e.table(), e.place))
                split.parts.emplace_back(name, share.number());
            }},
           {"seed", [&](const Entry& e) { split.seed = static_cast<uint64_t>(e.whole()); }}});
  return {entry.place, split};
}

FlowStep select_step(const Entry& entry) {
  if (entry.node.is_table()) return {entry.place, steps::Select{text_pairs(entry)}};
  Pairs columns;
  for (const std::string& name : entry.texts())
    columns.emplace_back(name, cat("`", join(split(name, '`'), "``"), "`"));
  return {entry.place, steps::Select{columns}};
}

/// A [[step]] is a table whose first key says what it does; group_by has its aggregates beside it.
FlowStep parse_step(const toml::table& table, const std::string& file) {
  static const std::map<std::string, std::function<FlowStep(const Entry&)>> kSteps = {
      {"filter",
       [](const Entry& e) {
         return FlowStep{e.place, steps::Filter{e.text()}};
       }},
      {"select", select_step},
      {"with_column",
       [](const Entry& e) {
         return FlowStep{e.place, steps::WithColumn{text_pairs(e)}};
       }},
      {"flat_map", flat_map_step},
      {"sample", sample_step},
      {"distinct",
       [](const Entry& e) {
         return FlowStep{e.place, steps::Distinct{e.texts()}};
       }},
      {"near_duplicates", near_duplicates_step},
      {"group_by",
       [](const Entry& e) {
         return FlowStep{e.place, steps::GroupBy{e.texts(), {}}};
       }},
      {"sort",
       [](const Entry& e) {
         return FlowStep{e.place, steps::Sort{e.texts()}};
       }},
      {"shuffle", shuffle_step},
      {"split", split_step},
      {"join", join_step},
      {"window", window_step},
  };
  std::vector<std::string> known;
  for (const auto& [name, unused] : kSteps) known.push_back(name);
  const std::string place = cat(file, ":", table.source().begin.line, " - step");
  std::vector<FlowStep> found;
  std::vector<FlowAggregate> aggregates;
  bool has_aggregates = false;
  for (const auto& [key, entry] : members(table, place)) {
    if (key == "aggregates") {
      aggregates = calls<FlowAggregate>(entry);
      has_aggregates = true;
      continue;
    }
    const auto parser = kSteps.find(key);
    if (parser == kSteps.end()) {
      const std::string guess = nearest(key, known);
      throw InputError(cat(place, ": unknown step: got ", key, ", want ",
                           guess.empty() ? cat("one of ", join(known, ", ")) : guess));
    }
    found.push_back(
        parser->second(Entry{cat(file, ":", entry.node.source().begin.line, " - ", key), entry.node}));
  }
  if (found.size() != 1)
    throw InputError(cat(place, ": got ", found.size(), " things to do, want one for each [[step]]"));
  auto* const group_by = std::get_if<steps::GroupBy>(&found[0].what);
  if (has_aggregates && !group_by) throw InputError(cat(place, ": aggregates belong to group_by"));
  if (group_by) group_by->aggregates = aggregates;
  return found[0];
}

toml::table parse(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error))
    throw InputError(cat(file.string(), " - no such file: want a pipeline file (TOML)"));
  try {
    return toml::parse_file(file.string());
  } catch (const toml::parse_error& problem) {
    throw InputError(
        cat(file.string(), ":", problem.source().begin.line, " - not TOML: ", problem.description()));
  }
}

}  // namespace

bool is_flow_file(const fs::path& file) {
  try {
    return parse(file).contains("read");
  } catch (const InputError&) {
    return false;  // the other reader says what is wrong
  }
}

namespace {

/// [read], or [[read]] for each source of a mixture.
void parse_read(const Entry& entry, Flow& flow) {
  const auto one = [&](const toml::node& node, FlowRead& read, double& weight) {
    Setters setters = read_setters(read);
    setters["weight"] = [&](const Entry& e) { weight = e.number(); };
    set_all(*node.as_table(), cat(flow.place, ":", node.source().begin.line, " - read"), setters);
  };
  if (!entry.node.is_array_of_tables()) {
    entry.table();
    return one(entry.node, flow.source, flow.weight);
  }
  bool is_first = true;
  for (const toml::node& node : *entry.node.as_array()) {
    if (!is_first) flow.mixed.emplace_back();
    one(node, is_first ? flow.source : flow.mixed.back().read,
        is_first ? flow.weight : flow.mixed.back().weight);
    is_first = false;
  }
}

/// [write.fields]: a table for each field.
std::vector<FlowField> parse_fields(const Entry& entry) {
  std::vector<FlowField> fields;
  for (const auto& [name, said] : members(entry.table(), entry.place)) {
    FlowField& field = fields.emplace_back();
    field.name = name;
    set_all(said.table(), said.place,
            {{"column", [&](const Entry& e) { field.columns = e.texts(); }},
             {"dtype", [&](const Entry& e) { field.dtype = e.text(); }},
             {"shape", [&](const Entry& e) { field.shape = e.dims(); }},
             {"order", [&](const Entry& e) { field.order = e.text(); }},
             {"classes", [&](const Entry& e) { field.classes = e.texts(); }}});
  }
  return fields;
}

void parse_write(const Entry& entry, Flow& flow) {
  FlowWrite& sink = flow.sink;
  set_all(entry.table(), cat(flow.place, ":", entry.node.source().begin.line, " - write"),
          {{"out", [&](const Entry& e) { sink.out = e.text(); }},
           {"work", [&](const Entry& e) { sink.work = e.text(); }},
           {"format", [&](const Entry& e) { sink.format = e.text(); }},
           {"column", [&](const Entry& e) { sink.column = e.text(); }},
           {"tokenizer", [&](const Entry& e) { sink.tokenizer = e.text(); }},
           {"vocabulary", [&](const Entry& e) { sink.vocabulary = e.whole(); }},
           {"special", [&](const Entry& e) { sink.special = e.texts(); }},
           {"pattern", [&](const Entry& e) { sink.pattern = e.text(); }},
           {"fields", [&](const Entry& e) { sink.fields = parse_fields(e); }},
           {"key", [&](const Entry& e) { sink.key = e.text(); }}});
}

}  // namespace

Flow load_flow(const fs::path& file) {
  Flow flow;
  flow.place = file.string();
  const toml::table table = parse(file);
  set_all(table, file.string(),
          {{"read", [&](const Entry& e) { parse_read(e, flow); }},
           {"memory", [&](const Entry& e) { flow.settings.memory_bytes = e.bytes(); }},
           {"part_bytes", [&](const Entry& e) { flow.settings.part_bytes = e.bytes(); }},
           {"seed", [&](const Entry& e) { flow.settings.seed = static_cast<uint64_t>(e.whole()); }},
           {"step",
            [&](const Entry& e) {
              if (!e.node.is_array_of_tables()) e.refuse("[[step]] in double brackets");
              for (const toml::node& step : *e.node.as_array())
                flow.steps.push_back(parse_step(*step.as_table(), file.string()));
            }},
           {"write", [&](const Entry& e) { parse_write(e, flow); }}});
  return flow;
}

}  // namespace shoal::flow
