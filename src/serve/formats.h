// How answers are written down for clients: the objects of /v1/completions and /v1/chat/completions, whole or as
// the chunks of a stream (https://platform.openai.com/docs/api-reference/chat/streaming).
#pragma once

#include <memory>
#include <string>

#include "serve/answer_text.h"
#include "serve/fields.h"
#include "serve/model.h"

namespace shoal::serve {

struct Usage {
  int64_t prompt_tokens = 0, answer_tokens = 0;
  Json json() const;
};

class Format {
 public:
  Format(std::shared_ptr<Model>, std::string id, int alternatives, bool streamed, bool include_usage);
  virtual ~Format() = default;

  /// What opens a choice in a stream; null: nothing.
  virtual Json opening(int64_t index) const = 0;
  /// A choice's part, or all of it; `finish` "": it goes on.
  virtual Json choice(int64_t index, const Piece&, const std::string& finish) const = 0;
  /// The object around choices. With usage null: none, or, in a stream that ends with one, null.
  Json envelope(Json choices, const Usage* usage) const;

 protected:
  virtual const char* object() const = 0;
  bool with_tokens() const { return alternatives_ >= 0; }

  const std::shared_ptr<Model> model_;
  const bool streamed_;

 private:
  const std::string id_;
  const int alternatives_;
  const bool include_usage_;
  const int64_t created_;
};

std::unique_ptr<Format> completion_format(std::shared_ptr<Model>, int alternatives, bool streamed,
                                          bool include_usage);
std::unique_ptr<Format> chat_format(std::shared_ptr<Model>, int alternatives, bool streamed, bool include_usage);

}  // namespace shoal::serve
