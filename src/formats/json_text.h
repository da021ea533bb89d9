// JSON of a file that may lie: of bounded depth and size, and what it has where something else is wanted is said
// with the place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace shoal::formats {

/// Throws InputError where it is no JSON object, is deeper than `most_depth`, or has a key twice in one object.
nlohmann::json parse_object(std::string_view text, const std::string& place, int most_depth);

/// The members of an object by key; null counts as absent. Throws InputError where a member has another type.
class Members {
 public:
  /// `object` must outlive this. `prefix` comes before keys in messages: "rope_scaling.".
  Members(const nlohmann::json& object, std::string place, std::string prefix = "");

  bool has(const std::string& key) const;
  std::optional<int64_t> integer(const std::string& key) const;
  std::optional<double> real(const std::string& key) const;
  std::optional<bool> flag(const std::string& key) const;
  std::optional<std::string> text(const std::string& key) const;
  /// A token or a list of them; empty where there is none.
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;
  std::optional<Members> object(const std::string& key) const;
  int64_t wanted_integer(const std::string& key) const;

  const nlohmann::json& json() const { return object_; }
  std::string title(const std::string& key) const;

 private:
  const nlohmann::json* find(const std::string& key) const;
  [[noreturn]] void refuse(const std::string& key, const nlohmann::json& got, const char* want) const;

  const nlohmann::json& object_;
  std::string place_, prefix_;
};

}  // namespace shoal::formats
