#include "text/chat_template.h"

#include "base/text.h"
#include "shoal/error.h"
#include "text/jinja/run.h"
#include "text/jinja/syntax.h"

namespace shoal::text {

struct ChatTemplate::Impl {
  std::string place;
  jinja::Body body;
};

ChatTemplate::ChatTemplate(const std::string& source, const std::string& place)
    : impl_(std::make_unique<Impl>(Impl{place, jinja::parse(source, place)})) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(const Inputs& inputs) const {
  auto globals = std::make_shared<jinja::Scope>();
  jinja::add_globals(*globals);
  auto scope = std::make_shared<jinja::Scope>(jinja::Scope{{}, globals});
  jinja::Run run(scope);
  try {
    auto& names = scope->names;
    names["documents"] = jinja::None{};
    names["bos_token"] = inputs.bos_token;
    names["eos_token"] = inputs.eos_token;
    names["messages"] = jinja::value_of(inputs.messages);
    names["tools"] = jinja::value_of(inputs.tools);
    names["add_generation_prompt"] = inputs.add_generation_prompt;
    for (const auto& [name, value] : inputs.extra.items()) names[name] = jinja::value_of(value);
    std::string out;
    run.render(impl_->body, out);
    return out;
  } catch (const jinja::Refusal& refusal) {
    throw InputError(
        cat(impl_->place, " - line ", run.line(), ": the template refuses these messages: ", refusal.what()));
  } catch (const jinja::Problem& problem) {
    throw InputError(cat(impl_->place, " - line ", run.line(), ": ", problem.what()));
  }
}

std::string default_chat_template(bool has_chatml_tokens) {
  if (has_chatml_tokens)
    return "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
           "'<|im_end|>\\n' }}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
  return "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
}

}  // namespace shoal::text
