// What a client is told when its request cannot be answered: an HTTP status and OpenAI's error object
// (https://platform.openai.com/docs/guides/error-codes), whose message is one sentence.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "serve/http.h"

namespace shoal::serve {

struct ApiError : std::runtime_error {
  ApiError(int status, const std::string& message, std::string param = "", std::string code = "");

  int status;                   // of HTTP
  std::string param;            // the field it is about; "": none
  std::string code;             // a word for programs: "context_length_exceeded"; "": none
  int retry_after_seconds = 0;  // 0: not said

  /// {"error": {"message", "type", "param", "code"}}
  nlohmann::ordered_json json() const;
  Reply reply() const;
};

}  // namespace shoal::serve
