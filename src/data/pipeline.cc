#include "data/pipeline.h"

#include <toml++/toml.h>
#include <bit>
#include <fstream>
#include <functional>
#include <map>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {

/// One value of the file, with what a message about it needs.
struct Entry {
  std::string place;  // "demo.toml:3 - suffixes"
  const toml::node& node;

  [[noreturn]] void refuse(const std::string& got, std::string_view want) const {
    throw InputError(cat(place, ": got ", got, ", want ", want));
  }

  std::string type_name() const {
    switch (node.type()) {
      case toml::node_type::string:
        return "a string";
      case toml::node_type::integer:
        return "a whole number";
      case toml::node_type::floating_point:
        return "a number with a fraction";
      case toml::node_type::boolean:
        return "true or false";
      case toml::node_type::array:
        return "a list";
      case toml::node_type::table:
        return "a table";
      default:
        return "a date or time";
    }
  }

  std::string text() const {
    if (!node.is_string()) refuse(type_name(), "a string in quotes");
    if (node.as_string()->get().empty()) refuse("an empty string", "a name");
    return node.as_string()->get();
  }

  std::vector<std::string> texts() const {
    static constexpr std::string_view kWant = "a list of strings, as in [\"a\", \"b\"]";
    if (!node.is_array()) refuse(type_name(), kWant);
    std::vector<std::string> result;
    for (const toml::node& item : *node.as_array()) {
      if (!item.is_string()) refuse(cat("a list with ", Entry{place, item}.type_name(), " in it"), kWant);
      result.push_back(Entry{place, item}.text());
    }
    return result;
  }

  int64_t number(const std::function<bool(int64_t)>& is_good, std::string_view want) const {
    if (!node.is_integer()) refuse(type_name(), want);
    const int64_t value = node.as_integer()->get();
    if (!is_good(value)) refuse(cat(value), want);
    return value;
  }
};

using Setter = std::function<void(Pipeline&, const Entry&)>;

const std::map<std::string, Setter>& setters() {
  static const std::map<std::string, Setter> kSetters = {
      {"inputs", [](Pipeline& p, const Entry& e) { p.inputs = e.texts(); }},
      {"suffixes", [](Pipeline& p, const Entry& e) { p.suffixes = e.texts(); }},
      {"exclude", [](Pipeline& p, const Entry& e) { p.exclude = e.texts(); }},
      {"out", [](Pipeline& p, const Entry& e) { p.out = e.text(); }},
      {"max_file_bytes",
       [](Pipeline& p, const Entry& e) {
         p.max_file_bytes = e.number([](int64_t n) { return n >= 1; }, "a whole number, at least 1");
       }},
      {"max_bytes",
       [](Pipeline& p, const Entry& e) {
         p.max_bytes = e.number([](int64_t n) { return n >= 0; }, "a whole number, 0 for no limit");
       }},
      {"validation_every",
       [](Pipeline& p, const Entry& e) {
         p.validation_every = e.number([](int64_t n) { return n == 0 || n >= 2; },
                                       "a whole number, at least 2, or 0 for no validation split");
       }},
      {"shard_tokens",
       [](Pipeline& p, const Entry& e) {
         p.shard_tokens = e.number(
             [](int64_t n) {
               return n >= 1024 && n <= kMaxShardTokens && std::has_single_bit(static_cast<uint64_t>(n));
             },
             cat("a power of two from 1024 to ", kMaxShardTokens));
       }},
  };
  return kSetters;
}

toml::table parse(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error))
    throw InputError(cat(file.string(), " - no such file: want a pipeline file (TOML)"));
  if (!std::filesystem::is_regular_file(file, error))  // opening a fifo would wait for its writer
    throw InputError(
        cat(file.string(), " - no regular file, which each device could read: want a pipeline file (TOML)"));
  std::ifstream stream(file);
  if (!stream) throw InputError(cat(file.string(), " - cannot be read: want a pipeline file (TOML)"));
  try {
    return toml::parse(stream);
  } catch (const toml::parse_error& problem) {
    throw InputError(
        cat(file.string(), ":", problem.source().begin.line, " - not TOML: ", problem.description()));
  }
}

}  // namespace

Pipeline load_pipeline(const std::filesystem::path& file) {
  Pipeline pipeline;
  for (const auto& [key, node] : parse(file)) {
    const std::string name(key.str());
    const std::string place = cat(file.string(), ":", key.source().begin.line, " - ");
    const auto setter = setters().find(name);
    if (setter == setters().end()) {
      std::vector<std::string> known;
      for (const auto& [known_name, unused] : setters()) known.push_back(known_name);
      const std::string guess = nearest(name, known);
      throw InputError(cat(place, "unknown key: got ", name, ", want ",
                           guess.empty() ? "one of " + join(known, ", ") : guess));
    }
    setter->second(pipeline, {place + name, node});
  }
  return pipeline;
}

}  // namespace shoal::data
