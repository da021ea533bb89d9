// The fields of a JSON object that a client sent, with types and ranges; what is not as it should be throws an
// ApiError (400) that names the field. Null is as good as absent.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::serve {

using Json = nlohmann::ordered_json;

/// As text; what is no UTF-8 becomes U+FFFD.
std::string dump(const Json&);

/// A body as JSON. Throws ApiError: what is no JSON, no UTF-8, nested more than 64 deep, or has an object of more
/// than 1024 keys (looking those up is slow in an object that keeps its order).
Json parse_body(std::string_view body);

/// What messages say of a value: 3, "text", a list, an object, nothing.
std::string described(const Json&);

class Fields {
 public:
  /// `place`: how errors call the object: "" for the body, else "stream_options".
  Fields(const Json& object, std::string place = "");

  /// The value, or nothing where it is absent or null.
  const Json* any(const std::string& name);
  std::optional<bool> flag(const std::string& name);
  std::optional<std::string> text(const std::string& name);
  std::optional<int64_t> integer(const std::string& name, int64_t least, int64_t most);
  std::optional<double> number(const std::string& name, double least, double most);
  /// REQUIRED ones throw where they are absent.
  const Json& required(const std::string& name, const std::string& want);

  /// A field that OpenAI has and we do not: may be absent, null, or `harmless`.
  void unsupported(const std::string& name, const Json& harmless = nullptr);
  /// Fields that were not asked for are unknown: throws for the first of them.
  void done() const;

  /// "got X, want `want`" about a field.
  [[noreturn]] void wrong(const std::string& name, const Json& got, const std::string& want) const;
  std::string path(const std::string& name) const;

 private:
  const Json& object_;
  std::string place_;
  std::vector<std::string> known_;
};

}  // namespace shoal::serve
