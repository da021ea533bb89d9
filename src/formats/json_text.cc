#include "formats/json_text.h"

#include <cmath>
#include <set>
#include <utility>

#include "base/text.h"
#include "formats/shown.h"
#include "shoal/error.h"

namespace shoal::formats {

using nlohmann::json;

namespace {

bool is_whole(const json& value) {
  return value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                                    : value.is_number_integer();
}

}  // namespace

json parse_object(std::string_view text, const std::string& place, int most_depth) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > most_depth)
      throw InputError(cat(place, " - JSON: got more than ", most_depth, " levels, want fewer"));
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw InputError(
          cat(place, " - ", shown(parsed.get<std::string>()), ": is there twice, want each key once"));
    return true;
  };
  json object;
  try {
    object = json::parse(text.begin(), text.end(), check);
  } catch (const json::exception& problem) {
    const auto* const parse = dynamic_cast<const json::parse_error*>(&problem);
    throw InputError(cat(place, " - JSON: cannot be read", parse ? cat(" at byte ", parse->byte) : "",
                         "; the file is cut off or damaged"));
  }
  if (!object.is_object())
    throw InputError(cat(place, " - JSON: got ", object.type_name(), ", want an object"));
  return object;
}

Members::Members(const nlohmann::json& object, std::string place, std::string prefix)
    : object_(object), place_(std::move(place)), prefix_(std::move(prefix)) {}

std::string Members::title(const std::string& key) const { return cat(place_, " - ", prefix_, key); }

const nlohmann::json* Members::find(const std::string& key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Members::refuse(const std::string& key, const nlohmann::json& got, const char* want) const {
  throw InputError(cat(title(key), ": got ",
                       got.is_string() ? shown(got.get<std::string>()) : got.type_name(), ", want ", want));
}

bool Members::has(const std::string& key) const { return find(key) != nullptr; }

std::optional<int64_t> Members::integer(const std::string& key) const {
  const nlohmann::json* const got = find(key);
  if (!got) return std::nullopt;
  if (is_whole(*got)) return got->get<int64_t>();
  // Some writers make 8192.0 of a size.
  if (got->is_number_float() && std::abs(got->get<double>()) < 1e15 &&
      std::trunc(got->get<double>()) == got->get<double>())
    return static_cast<int64_t>(got->get<double>());
  refuse(key, *got, "a whole number");
}

std::optional<double> Members::real(const std::string& key) const {
  const nlohmann::json* const got = find(key);
  if (!got) return std::nullopt;
  if (!got->is_number() || !std::isfinite(got->get<double>())) refuse(key, *got, "a finite number");
  return got->get<double>();
}

std::optional<bool> Members::flag(const std::string& key) const {
  const nlohmann::json* const got = find(key);
  if (!got) return std::nullopt;
  if (!got->is_boolean()) refuse(key, *got, "true or false");
  return got->get<bool>();
}

std::optional<std::string> Members::text(const std::string& key) const {
  const nlohmann::json* const got = find(key);
  if (!got) return std::nullopt;
  if (!got->is_string()) refuse(key, *got, "a string");
  return got->get<std::string>();
}

std::vector<int64_t> Members::integers(const std::string& key) const {
  const nlohmann::json* const got = find(key);
  std::vector<int64_t> all;
  if (!got) return all;
  const nlohmann::json list = got->is_array() ? *got : nlohmann::json::array({*got});
  for (const nlohmann::json& item : list) {
    if (!is_whole(item)) refuse(key, item, "whole numbers");
    all.push_back(item.get<int64_t>());
  }
  return all;
}

std::vector<std::string> Members::texts(const std::string& key) const {
  const nlohmann::json* const got = find(key);
  std::vector<std::string> all;
  if (!got) return all;
  if (!got->is_array()) refuse(key, *got, "a list of strings");
  for (const nlohmann::json& item : *got) {
    if (!item.is_string()) refuse(key, item, "strings");
    all.push_back(item.get<std::string>());
  }
  return all;
}

std::optional<Members> Members::object(const std::string& key) const {
  const nlohmann::json* const got = find(key);
  if (!got) return std::nullopt;
  if (!got->is_object()) refuse(key, *got, "an object");
  return Members(*got, place_, cat(prefix_, key, "."));
}

int64_t Members::wanted_integer(const std::string& key) const {
  const auto got = integer(key);
  if (!got) throw InputError(cat(title(key), ": is missing, want a whole number"));
  return *got;
}

}  // namespace shoal::formats
