#include "serve/api_error.h"

#include <utility>

#include "serve/fields.h"

namespace shoal::serve {
namespace {

const char* type_of(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

nlohmann::ordered_json word(const std::string& text) {
  return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
}

}  // namespace

ApiError::ApiError(int status, const std::string& message, std::string param, std::string code)
    : std::runtime_error(message), status(status), param(std::move(param)), code(std::move(code)) {}

nlohmann::ordered_json ApiError::json() const {
  return {{"error",
           {{"message", what()}, {"type", type_of(status)}, {"param", word(param)}, {"code", word(code)}}}};
}

Reply ApiError::reply() const {
  Reply reply{status, "application/json", dump(json())};
  reply.retry_after_seconds = retry_after_seconds;
  return reply;
}

}  // namespace shoal::serve
