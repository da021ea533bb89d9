// Reading a recipe, in three steps: TOML to values by the table of keys; what is missing or does not apply;
// how the values go together.
#include "app/recipe.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "app/recipe_keys.h"
#include "base/text.h"
#include "comm/launch.h"
#include "mesh/layout.h"
#include "shoal/error.h"

namespace shoal::app {
namespace {

namespace fs = std::filesystem;

const Key* find_key(const std::string& full_name) {
  for (const Key& key : recipe_keys())
    if (key.full_name() == full_name) return &key;
  return nullptr;
}

/// The value of a key that selects others: "gpt" for "model.name".
const std::string& text_of(const Recipe& recipe, const std::string& full_name) {
  return std::get<TextField>(find_key(full_name)->field).at(const_cast<Recipe&>(recipe));
}

}  // namespace

bool applies(const Key& key, const Recipe& recipe) {
  return key.only_key.empty() || std::ranges::count(key.only_values, text_of(recipe, key.only_key)) > 0;
}

namespace {

[[noreturn]] void refuse_unknown(const std::string& place, const std::string& section,
                                 const std::string& name) {
  std::vector<std::string> sections, in_section, all;
  for (const Key& key : recipe_keys()) {
    if (sections.empty() || sections.back() != key.section) sections.push_back(key.section);
    if (key.section == section) in_section.push_back(key.name);
    all.push_back(key.full_name());
  }
  if (in_section.empty()) {
    const std::string guess = nearest(section, sections);
    throw InputError(
        cat(place, " - [", section, "]: unknown section; ",
            guess.empty() ? cat("a recipe has ", join(sections, ", ")) : cat("did you mean [", guess, "]?")));
  }
  const std::string full_name = section + "." + name;
  const std::string near_name = nearest(name, in_section);
  for (const Key& key : recipe_keys())  // right in another section
    if (key.name == name && near_name.empty())
      throw InputError(cat(place, " - ", full_name, ": unknown key; did you mean ", key.full_name(), "?"));
  throw InputError(cat(place, " - ", full_name, ": unknown key; ",
                       near_name.empty() ? cat("[", section, "] has ", join(in_section, ", "))
                                         : cat("did you mean ", section, ".", near_name, "?")));
}

std::string type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return cat('"', node.as_string()->get(), '"');
    case toml::node_type::integer:
      return cat(node.as_integer()->get());
    case toml::node_type::floating_point:
      return real_text(node.as_floating_point()->get());
    case toml::node_type::boolean:
      return node.as_boolean()->get() ? "true" : "false";
    case toml::node_type::array: {
      std::vector<std::string> items;
      for (const toml::node& item : *node.as_array()) items.push_back(type_name(item));
      return items.size() <= 4 ? cat("[", join(items, ", "), "]") : cat("a list of ", items.size());
    }
    case toml::node_type::table:
      return "a table";
    default:
      return "a date or time";
  }
}

std::optional<double> number(const toml::node& node) {
  if (node.is_floating_point()) return node.as_floating_point()->get();
  if (node.is_integer()) return static_cast<double>(node.as_integer()->get());
  return std::nullopt;
}

/// Each returns whether the value was of the right type and in range, and then took it.
bool take(const WholeField& field, const toml::node& node, Recipe& recipe) {
  if (!node.is_integer()) return false;
  const int64_t value = node.as_integer()->get();
  field.at(recipe) = value;
  return value >= field.least && value <= field.most;
}
bool take(const RealField& field, const toml::node& node, Recipe& recipe) {
  const std::optional<double> value = number(node);
  if (!value) return false;
  field.at(recipe) = *value;
  return *value >= field.least &&
         (field.below_most ? *value < field.most : *value <= field.most);  // false for NaN
}
bool take(const PairField& field, const toml::node& node, Recipe& recipe) {
  const toml::array* list = node.as_array();
  if (!list || list->size() != 2) return false;
  for (size_t i = 0; i < 2; ++i) {
    const std::optional<double> value = number((*list)[i]);
    if (!value || !(*value >= 0 && *value < 1)) return false;
    field.at(recipe)[i] = *value;
  }
  return true;
}
bool take(const FlagField& field, const toml::node& node, Recipe& recipe) {
  if (!node.is_boolean()) return false;
  field.at(recipe) = node.as_boolean()->get();
  return true;
}
bool take(const TextField& field, const toml::node& node, Recipe& recipe) {
  if (!node.is_string() || node.as_string()->get().empty()) return false;
  field.at(recipe) = node.as_string()->get();
  return field.choices.empty() || std::ranges::count(field.choices, field.at(recipe)) > 0;
}

/// What to write for a whole number that was written as a real one, as 1e3 is in TOML.
std::string whole_form(const Field& field, const toml::node& node) {
  const std::optional<double> value = number(node);
  const bool is_whole = node.is_floating_point() && *value == std::trunc(*value) && std::abs(*value) < 1e15;
  return is_whole && std::holds_alternative<WholeField>(field) ? cat("; write ", std::llround(*value)) : "";
}

void set(Recipe& recipe, const std::string& place, const std::string& section, const std::string& name,
         const toml::node& node) {
  const Key* key = find_key(section + "." + name);
  if (!key) refuse_unknown(place, section, name);
  const bool good = std::visit([&](const auto& field) { return take(field, node, recipe); }, key->field);
  if (!good)
    throw InputError(cat(place, " - ", key->full_name(), ": got ", type_name(node), ", want ",
                         wanted(key->field), whole_form(key->field, node)));
  recipe.places[key->full_name()] = place;
}

std::string line_of(const std::string& file, const toml::source_region& source) {
  return cat(file, ":", source.begin.line);
}

void read_file(Recipe& recipe) {
  const std::string& file = recipe.file;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) throw InputError(cat(file, " - no such file: want a recipe (TOML)"));
  if (!fs::is_regular_file(file, ignored))  // opening a fifo would wait for its writer
    throw InputError(cat(file, " - no regular file, which each device could read: want a recipe (TOML)"));
  std::ifstream stream(file);
  if (!stream) throw InputError(cat(file, " - cannot be read: want a recipe (TOML)"));
  toml::table table;
  try {
    table = toml::parse(stream);
  } catch (const toml::parse_error& problem) {
    throw InputError(cat(line_of(file, problem.source()), " - not TOML: ", problem.description()));
  }
  // In the order of the file, so that the first mistake is the one that is told.
  const auto in_order = [](const toml::table& items) {
    std::vector<std::pair<const toml::key*, const toml::node*>> sorted;
    for (const auto& [key, node] : items) sorted.emplace_back(&key, &node);
    std::ranges::stable_sort(sorted, {}, [](const auto& item) {
      return std::pair(item.first->source().begin.line, item.first->source().begin.column);
    });
    return sorted;
  };
  for (const auto& [section, node] : in_order(table)) {
    const std::string section_name(section->str());
    if (!node->is_table()) {
      std::string advice = "put it under a [section]";
      for (const Key& key : recipe_keys())
        if (key.name == section_name) advice = cat("put it under [", key.section, "]");
      throw InputError(cat(line_of(file, section->source()), " - ", section_name,
                           ": a key outside of a section; ", advice));
    }
    if (node->as_table()->empty() &&
        std::ranges::none_of(recipe_keys(), [&](const Key& key) { return key.section == section_name; }))
      refuse_unknown(line_of(file, section->source()), section_name, "");
    for (const auto& [key, value] : in_order(*node->as_table()))
      set(recipe, line_of(file, key->source()), section_name, std::string(key->str()), *value);
  }
}

void apply(Recipe& recipe, const Override& change) {
  const std::vector<std::string> parts = split(change.key, '.');
  if (parts.size() != 2)
    throw InputError(cat(change.flag, " - ", change.key, ": want section.key, as in train.steps"));
  const Key* key = find_key(change.key);
  if (!key) refuse_unknown(change.flag, parts[0], parts[1]);
  if (change.must_agree && recipe.places.contains(change.key)) {
    const std::string place = recipe.place(change.key), before = value_text(key->field, recipe);
    apply(recipe, {change.flag, change.key, change.value});
    if (const std::string now = value_text(key->field, recipe); now != before)
      throw InputError(cat(place, " - ", change.key, ": got ", before, ", but ", change.flag, " has ", now, "; leave it out"));
    return;
  }
  if (std::holds_alternative<TextField>(key->field) && !change.value.starts_with('"') &&
      !change.value.starts_with('\''))
    return set(recipe, change.flag, parts[0], parts[1], toml::value<std::string>(change.value));
  toml::table table;
  try {
    table = toml::parse("value = " + change.value);
  } catch (const toml::parse_error&) {
    throw InputError(
        cat(change.flag, " - ", change.key, ": got ", change.value, ", want ", wanted(key->field)));
  }
  set(recipe, change.flag, parts[0], parts[1], *table.get("value"));
}

void check_keys(const Recipe& recipe) {
  for (const Key& key : recipe_keys()) {
    const auto given = recipe.places.find(key.full_name());
    if (given != recipe.places.end() && !applies(key, recipe))
      throw InputError(cat(given->second, " - ", key.full_name(), ": it has no meaning where ", key.only_key,
                           " is \"", text_of(recipe, key.only_key), "\"; leave it out"));
    if (given == recipe.places.end() && key.need == Need::kRequired && applies(key, recipe))
      throw InputError(cat(recipe.file, " - ", key.full_name(), ": missing; want ", wanted(key.field)));
  }
}

void check(bool good, const Recipe& recipe, const std::string& key, const std::string& sentence) {
  if (!good) throw InputError(cat(recipe.place(key), " - ", key, ": ", sentence));
}

/// The mesh says how many devices there are, and devices may say it too. What the command line says of the
/// mesh replaces what the file says of both; what it says of devices may stand beside a mesh for as many, and
/// replaces one that only counts them. Leaves the mesh as text that needs no other file.
void settle_layout(Recipe& recipe) {
  Recipe::Layout& layout = recipe.layout;
  const auto is_in_file = [&](const char* key) { return recipe.place(key).starts_with(recipe.file); };
  if (layout.mesh == "auto") return;
  if (!is_in_file("layout.mesh") && is_in_file("layout.devices")) recipe.places.erase("layout.devices");
  const std::string place = recipe.place("layout.mesh");
  const shoal::Layout division = parse_layout(layout.mesh, place + " - layout.mesh");
  layout.mesh = print(division);
  if (!is_in_file("layout.devices") && is_in_file("layout.mesh") &&
      recipe.places.contains("layout.devices") && division.devices() != layout.devices) {
    check(division == shoal::Layout{.dp = division.dp}, recipe, "layout.devices",
          cat("got ", layout.devices, ", but layout.mesh (", place, ") is ", layout.mesh, ", which is ",
              division.devices(), "; say with --layout how ", layout.devices,
              " divide the work, or --layout auto"));
    layout.mesh = "auto";
    return;
  }
  if (recipe.places.contains("layout.devices")) return;
  check(division.devices() <= comm::kMaxDevices, recipe, "layout.mesh",
        cat("got ", layout.mesh, ", which is ", division.devices(), " devices, want at most ",
            comm::kMaxDevices));
  layout.devices = division.devices();
  recipe.places["layout.devices"] = place;
}

void check_division(const Recipe& recipe) {
  mesh::Limits limits = {.devices = recipe.layout.devices,
                         .microbatches = recipe.train.microbatches,
                         .tensor_chunks = recipe.numerics.tensor_chunks};
  if (recipe.model.name == "gpt" || recipe.model.name == "llama")
    limits.divided = {{"model.heads", recipe.model.heads}};
  else
    limits.divided = {{"model.width", recipe.model.width}};
  if (const std::optional<shoal::Layout> layout = recipe.named_layout())
    mesh::check_layout(*layout, limits, recipe.place("layout.mesh") + " - layout.mesh");
  else
    mesh::default_layout(limits, recipe.place("layout.devices") + " - layout.devices");
}

void check_together(const Recipe& recipe) {
  const auto& [model, data, train, optimizer, layout, numerics, checkpoint, validation, file, places] =
      recipe;
  if (model.knows_text()) {
    const int64_t pair = model.name == "llama" ? 2 : 1;  // rotary embeddings turn pairs
    check(model.width % (pair * model.heads) == 0, recipe, "model.width",
          cat("got ", model.width, ", want a multiple of ", pair == 2 ? "twice " : "", "model.heads (",
              model.heads, ")"));
    check(
        model.kv_heads == 0 || model.heads % model.kv_heads == 0, recipe, "model.kv_heads",
        cat("got ", model.kv_heads, ", want a divisor of model.heads (", model.heads, "), or 0 for as many"));
    check(data.source != "samples", recipe, "data.source",
          cat("got \"samples\", want \"store\" or \"random\" where model.name is \"", model.name,
              "\"; a sample store holds tensors, which an mlp or a resnet learns"));
  } else {
    check(data.source != "store", recipe, "data.source",
          cat("got \"store\", want \"samples\" or \"random\" where model.name is \"", model.name,
              "\"; a token store holds text, which a gpt or a llama learns"));
  }
  check(
      train.global_batch % train.microbatches == 0, recipe, "train.global_batch",
      cat("got ", train.global_batch, ", want a multiple of train.microbatches (", train.microbatches, ")"));
  check_division(recipe);
  check(optimizer.warmup_steps <= train.steps, recipe, "optimizer.warmup_steps",
        cat("got ", optimizer.warmup_steps, ", want at most train.steps (", train.steps, ")"));
  check(!optimizer.nesterov || optimizer.momentum > 0, recipe, "optimizer.nesterov",
        "got true, want an optimizer.momentum above 0 with it");
}

}  // namespace

const std::string& Recipe::place(const std::string& key) const {
  const auto given = places.find(key);
  return given == places.end() ? file : given->second;
}

std::optional<shoal::Layout> Recipe::named_layout() const {
  if (layout.mesh == "auto") return std::nullopt;
  return parse_layout(layout.mesh, place("layout.mesh") + " - layout.mesh");
}

Override parse_override(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    throw InputError(cat("--set ", assignment, " - want section.key=value, as in train.steps=100"));
  return {"--set " + assignment, assignment.substr(0, equals), assignment.substr(equals + 1)};
}

Recipe load_recipe(const fs::path& file, const std::vector<Override>& overrides) {
  Recipe recipe;
  recipe.file = file.string();
  read_file(recipe);
  for (const Override& change : overrides) apply(recipe, change);
  check_keys(recipe);
  settle_layout(recipe);
  check_together(recipe);
  return recipe;
}

std::string recipe_text(const Recipe& recipe) {
  std::string text, section;
  for (const Key& key : recipe_keys()) {
    if (!applies(key, recipe)) continue;
    if (key.section != section) text += cat(text.empty() ? "" : "\n", "[", section = key.section, "]\n");
    text += cat(key.name, " = ", value_text(key.field, recipe), "\n");
  }
  return text;
}

namespace {
// What the model is, what its numbers mean, and what its bits depend on.
bool is_noted(const Key& key) {
  const std::string name = key.full_name();
  return key.section == "model" || name == "data.source" || name == "train.precision" ||
         name == "layout.threads";
}
}  // namespace

nlohmann::json recipe_note(const Recipe& recipe) {
  nlohmann::json note;
  for (const Key& key : recipe_keys()) {
    if (!is_noted(key) || !applies(key, recipe)) continue;
    const nlohmann::json value = json_value(key.field, recipe);
    if (key.noted_when_set && value == json_value(key.field, {})) continue;
    note[key.section][key.name] = value;
  }
  return note;
}

TrainerOptions trainer_options(const Recipe& recipe) {
  const Recipe::Optimizer& o = recipe.optimizer;
  TrainerOptions options;
  if (o.name == "adamw")
    options.optimizer = AdamW{
        .lr = o.lr, .betas = o.betas, .eps = o.eps, .weight_decay = o.weight_decay, .decay_all = o.decay_all};
  else
    options.optimizer = Sgd{.lr = o.lr,
                            .momentum = o.momentum,
                            .weight_decay = o.weight_decay,
                            .nesterov = o.nesterov,
                            .decay_all = o.decay_all};
  options.microbatches = recipe.train.microbatches;
  options.seed = static_cast<uint64_t>(recipe.train.seed);
  options.precision = recipe.precision();
  options.clip_norm = o.clip_norm;
  options.schedule = {
      .warmup_steps = o.warmup_steps, .total_steps = recipe.train.steps, .final_factor = o.final_factor};
  options.tensor_chunks = recipe.numerics.tensor_chunks;
  options.threads = static_cast<int>(recipe.layout.threads);
  options.layout = recipe.named_layout();
  if (recipe.layout.stages != "auto") options.stages = split(recipe.layout.stages, ',');
  if (recipe.layout.offload != "none") options.offload = recipe.layout.offload;
  if (recipe.layout.grid != "auto") options.grid = recipe.layout.grid;
  return options;
}

}  // namespace shoal::app
