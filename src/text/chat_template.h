// What a chat is as a prompt: the model's own template, in the part of Jinja that such templates use
// (docs/chat_templates.md; https://jinja.palletsprojects.com/templates, with the settings of Transformers'
// apply_chat_template: trim_blocks, lstrip_blocks, loop controls, strftime_now, raise_exception, tojson).
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace shoal::text {

/// Immutable: any number of threads may use one at once.
class ChatTemplate {
 public:
  /// Throws InputError, with the line in the template, where it is not understood.
  ChatTemplate(const std::string& source, const std::string& place);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  struct Inputs {
    nlohmann::ordered_json messages;  // [{"role": ..., "content": ...}...]
    nlohmann::ordered_json tools = nullptr;
    bool add_generation_prompt = true;
    std::string bos_token, eos_token;                                 // as text
    nlohmann::ordered_json extra = nlohmann::ordered_json::object();  // further variables, by name
  };
  /// Throws InputError where the template refuses the messages (raise_exception) or cannot work with them;
  /// a template that does not end is stopped with an InputError too (a limit of steps and of length).
  std::string render(const Inputs&) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

/// For a model that brings none: "<|im_start|>role\ncontent<|im_end|>\n" (ChatML) where the vocabulary has
/// those tokens, else "role: content\n".
std::string default_chat_template(bool has_chatml_tokens);

}  // namespace shoal::text
