#include "serve/fields.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/text.h"
#include "serve/api_error.h"

namespace shoal::serve {
namespace {

constexpr int kDeepest = 64;
constexpr int kMostKeys = 1024;

/// A number as people write it: 2, not 2.000000.
std::string plain(double value) { return Json(value == std::floor(value) && std::fabs(value) < 1e15
                                                  ? Json(static_cast<int64_t>(value))
                                                  : Json(value)).dump(); }

}  // namespace

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json parse_body(std::string_view body) {
  std::vector<int> keys;  // of the objects that are open
  const auto watch = [&](int depth, Json::parse_event_t event, Json&) {
    if (depth > kDeepest)
      throw ApiError(400, cat("body - nesting: got more than ", kDeepest, " levels, want at most ", kDeepest), "",
                     "invalid_json");
    if (event == Json::parse_event_t::object_start) keys.push_back(0);
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && ++keys.back() > kMostKeys)
      throw ApiError(400, cat("body - keys: got more than ", kMostKeys, " in one object, want at most ", kMostKeys),
                     "", "invalid_json");
    return true;
  };
  try {
    return Json::parse(body, watch);
  } catch (const Json::parse_error& error) {
    throw ApiError(400,
                   body.empty() ? std::string("body - got nothing, want a JSON object")
                                : cat("body - JSON: got what is none from byte ", error.byte,
                                      " on, want an object in UTF-8"),
                   "", "invalid_json");
  } catch (const Json::exception&) {
    throw ApiError(400, "body - JSON: got a number out of range, want those that fit 64 bits", "", "invalid_json");
  }
}

std::string described(const Json& value) {
  if (value.is_null()) return "nothing";
  if (value.is_array()) return value.empty() ? "an empty list" : "a list";
  if (value.is_object()) return "an object";
  if (!value.is_string()) return value.dump();
  constexpr size_t kShown = 40;
  std::string text = value.get<std::string>();
  if (text.size() > kShown) {
    size_t cut = kShown;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    text = text.substr(0, cut) + "...";
  }
  return dump(Json(text));
}

Fields::Fields(const Json& object, std::string place) : object_(object), place_(std::move(place)) {
  if (!object.is_object())
    throw ApiError(400, cat(place_.empty() ? "body" : place_, " - got ", described(object), ", want an object"),
                   place_, "invalid_type");
}

std::string Fields::path(const std::string& name) const { return place_.empty() ? name : place_ + "." + name; }

void Fields::wrong(const std::string& name, const Json& got, const std::string& want) const {
  throw ApiError(400, cat(path(name), " - got ", described(got), ", want ", want), path(name), "invalid_value");
}

const Json* Fields::any(const std::string& name) {
  known_.push_back(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const Json& Fields::required(const std::string& name, const std::string& want) {
  const Json* const value = any(name);
  if (!value) wrong(name, nullptr, want);
  return *value;
}

std::optional<bool> Fields::flag(const std::string& name) {
  const Json* const value = any(name);
  if (!value) return {};
  if (!value->is_boolean()) wrong(name, *value, "true or false");
  return value->get<bool>();
}

std::optional<std::string> Fields::text(const std::string& name) {
  const Json* const value = any(name);
  if (!value) return {};
  if (!value->is_string()) wrong(name, *value, "a text");
  return value->get<std::string>();
}

std::optional<int64_t> Fields::integer(const std::string& name, int64_t least, int64_t most) {
  const Json* const value = any(name);
  if (!value) return {};
  const std::string want = cat("a whole number from ", least, " to ", most);
  // 5.0 is a whole number too, as JavaScript may write it.
  if (value->is_number_float()) {
    const double number = value->get<double>();
    if (number != std::floor(number) || number < static_cast<double>(least) || number > static_cast<double>(most))
      wrong(name, *value, want);
    return static_cast<int64_t>(number);
  }
  if (!value->is_number_integer()) wrong(name, *value, want);
  const bool huge = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = huge ? 0 : value->get<int64_t>();
  if (huge || number < least || number > most) wrong(name, *value, want);
  return number;
}

std::optional<double> Fields::number(const std::string& name, double least, double most) {
  const Json* const value = any(name);
  if (!value) return {};
  const double number = value->is_number() ? value->get<double>() : 0;
  if (!value->is_number() || !(number >= least && number <= most))
    wrong(name, *value, cat("a number from ", plain(least), " to ", plain(most)));
  return number;
}

void Fields::unsupported(const std::string& name, const Json& harmless) {
  const Json* const value = any(name);
  if (value && *value != harmless)
    throw ApiError(400, cat(path(name), " - got ", described(*value), ", which this server does not support; leave it out"),
                   path(name), "unsupported_parameter");
}

void Fields::done() const {
  for (const auto& [name, value] : object_.items()) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const std::string close = nearest(name, known_);
    throw ApiError(400,
                   cat(path(described(Json(name))), " - got an unknown field, want one that docs/serving.md names",
                       close.empty() ? "" : cat("; did you mean ", close, "?")),
                   path(name), "unknown_parameter");
  }
}

}  // namespace shoal::serve
