#include "serve/asks.h"

#include <charconv>

#include "base/text.h"
#include "serve/api_error.h"

namespace shoal::serve {
namespace {

constexpr int64_t kMostAlternatives = 20;
constexpr int64_t kMostTokens = 1 << 24;  // of an answer; the context is far below
constexpr size_t kMostInputs = 2048;      // of one request for embeddings, as OpenAI has it

void parse_stop(Fields& fields, Ask& ask) {
  const Json* const stop = fields.any("stop");
  if (!stop) return;
  const std::string want = cat("a text or a list of 1 to ", kMostStops, " texts, none of them empty");
  if (!stop->is_string() && !(stop->is_array() && !stop->empty() && stop->size() <= kMostStops))
    fields.wrong("stop", *stop, want);
  for (const Json& one : stop->is_string() ? Json::array({*stop}) : *stop) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty()) fields.wrong("stop", one, want);
    ask.stop.push_back(one.get<std::string>());
  }
}

void parse_logit_bias(Fields& fields, Ask& ask, Token vocabulary) {
  const Json* const biases = fields.any("logit_bias");
  if (!biases) return;
  Fields inner(*biases, "logit_bias");
  for (const auto& [name, value] : biases->items()) {
    Token token = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), token);
    if (error != std::errc() || end != name.data() + name.size() || token < 0 || token >= vocabulary)
      fields.wrong("logit_bias", Json(name), cat("tokens from 0 to ", vocabulary - 1, " as names"));
    if (const auto bias = inner.number(name, -100, 100)) ask.sampling.logit_bias.emplace_back(token, *bias);
  }
}

void parse_sampling(Fields& fields, Ask& ask, Token vocabulary) {
  infer::Sampling& sampling = ask.sampling;
  sampling.temperature = fields.number("temperature", 0, 2).value_or(1);
  sampling.top_p = fields.number("top_p", 0, 1).value_or(1);
  sampling.top_k = fields.integer("top_k", 0, INT32_MAX).value_or(0);
  sampling.min_p = fields.number("min_p", 0, 1).value_or(0);
  sampling.presence_penalty = fields.number("presence_penalty", -2, 2).value_or(0);
  sampling.frequency_penalty = fields.number("frequency_penalty", -2, 2).value_or(0);
  sampling.repetition_penalty = fields.number("repetition_penalty", 0.01, 100).value_or(1);
  if (const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX)) {
    sampling.seed = static_cast<uint64_t>(*seed);
    ask.seeded = true;
  }
  parse_logit_bias(fields, ask, vocabulary);
}

void parse_form(Fields& fields, Ask& ask) {
  if (const auto gbnf = fields.text("grammar")) {
    ask.form = Form::kGbnf;
    ask.gbnf = *gbnf;
  }
  const Json* const format = fields.any("response_format");
  if (!format) return;
  Fields inner(*format, "response_format");
  const std::string want = "text, json_object or json_schema";
  const Json& type = inner.required("type", want);
  if (type == "json_object") {
    ask.form = Form::kObject;
  } else if (type == "json_schema") {
    Fields schema(inner.required("json_schema", "an object with name and schema"), "response_format.json_schema");
    schema.text("name");
    schema.text("description");
    schema.flag("strict");
    const Json& given = schema.required("schema", "a JSON schema");
    if (!given.is_object() && !given.is_boolean()) schema.wrong("schema", given, "a JSON schema");
    schema.done();
    ask.form = Form::kSchema;
    ask.schema = given;
  } else if (type != "text") {
    inner.wrong("type", type, want);
  }
  inner.done();
  if (!ask.gbnf.empty() && type != "text")
    throw ApiError(400, "grammar - got one beside a response_format, want one of the two", "grammar", "invalid_value");
}

void parse_stream(Fields& fields, Ask& ask) {
  ask.stream = fields.flag("stream").value_or(false);
  const Json* const options = fields.any("stream_options");
  if (!options) return;
  if (!ask.stream) fields.wrong("stream_options", *options, "none where stream is not true");
  Fields inner(*options, "stream_options");
  ask.include_usage = inner.flag("include_usage").value_or(false);
  inner.unsupported("include_obfuscation", false);
  inner.done();
}

/// All but prompts, lengths and log-probabilities.
void parse_common(Fields& fields, Ask& ask, Token vocabulary) {
  ask.model = fields.text("model").value_or("");
  ask.n = fields.integer("n", 1, kMostAnswers).value_or(1);
  parse_sampling(fields, ask, vocabulary);
  parse_stop(fields, ask);
  parse_form(fields, ask);
  parse_stream(fields, ask);
  // Said for OpenAI's own books; they change no answer.
  fields.text("user");
  fields.text("safety_identifier");
}

/// The content of a message: a text, or a list of parts that are texts.
std::string parse_content(Fields& message) {
  const std::string want = "a text or a list of {\"type\": \"text\", \"text\": ...}";
  const Json& content = message.required("content", want);
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) message.wrong("content", content, want);
  std::string joined;
  for (size_t i = 0; i < content.size(); ++i) {
    Fields part(content[i], cat(message.path("content"), "[", i, "]"));
    const Json& type = part.required("type", "text");
    if (type != "text") part.wrong("type", type, "text: other parts are not supported");
    const Json& text = part.required("text", "a text");
    if (!text.is_string()) part.wrong("text", text, "a text");
    joined += text.get<std::string>();
    part.done();
  }
  return joined;
}

Json parse_messages(Fields& fields) {
  const std::string want = "a list of at least one message";
  const Json& list = fields.required("messages", want);
  if (!list.is_array() || list.empty()) fields.wrong("messages", list, want);
  Json messages = Json::array();
  for (size_t i = 0; i < list.size(); ++i) {
    Fields message(list[i], cat("messages[", i, "]"));
    const std::string roles = "system, developer, user or assistant";
    const Json& role = message.required("role", roles);
    if (role != "system" && role != "developer" && role != "user" && role != "assistant")
      message.wrong("role", role, roles);
    // Templates know no developer: it is OpenAI's newer word for system.
    Json made = {{"role", role == "developer" ? Json("system") : role}, {"content", parse_content(message)}};
    if (const auto name = message.text("name")) made["name"] = *name;
    for (const char* const name : {"tool_calls", "tool_call_id", "function_call", "audio", "refusal"})
      message.unsupported(name, Json::array());
    message.done();
    messages.push_back(std::move(made));
  }
  return messages;
}

}  // namespace

std::vector<Token> parse_tokens(const Fields& fields, const std::string& name, const Json& list,
                                Token vocabulary) {
  const std::string want = cat("a list of tokens from 0 to ", vocabulary - 1);
  if (!list.is_array()) fields.wrong(name, list, want);
  std::vector<Token> tokens;
  tokens.reserve(list.size());
  for (const Json& one : list) {
    if (!one.is_number_integer() || one.is_number_unsigned() != (one >= 0) || one < 0 || one >= vocabulary)
      fields.wrong(name, one, want);
    tokens.push_back(one.get<Token>());
  }
  return tokens;
}

std::vector<Prompt> parse_prompts(const Fields& fields, const std::string& name, const Json& value,
                                  Token vocabulary, size_t most) {
  const std::string want =
      cat("a text, a list of tokens, or a list of 1 to ", most, " of one of these");
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array() || value.empty()) fields.wrong(name, value, want);
  if (value[0].is_number()) return {parse_tokens(fields, name, value, vocabulary)};
  if (value.size() > most) fields.wrong(name, Json(value.size()), cat("at most ", most, " in one request"));
  std::vector<Prompt> prompts;
  for (const Json& one : value) {
    if (one.is_string() && value[0].is_string())
      prompts.emplace_back(one.get<std::string>());
    else if (one.is_array() && value[0].is_array())
      prompts.emplace_back(parse_tokens(fields, name, one, vocabulary));
    else
      fields.wrong(name, one, want);
  }
  return prompts;
}

CompletionAsk parse_completion(const Json& body, Token vocabulary) {
  Fields fields(body);
  CompletionAsk ask;
  ask.prompts = parse_prompts(fields, "prompt", fields.required("prompt", "a text"), vocabulary,
                              static_cast<size_t>(kMostAnswers));
  parse_common(fields, ask, vocabulary);
  ask.max_tokens = fields.integer("max_tokens", 0, kMostTokens).value_or(16);
  ask.alternatives = static_cast<int>(fields.integer("logprobs", 0, kMostAlternatives).value_or(-1));
  ask.echo = fields.flag("echo").value_or(false);
  if (ask.max_tokens == 0 && !ask.echo)
    throw ApiError(400, "max_tokens - got 0, want at least 1, or echo", "max_tokens", "invalid_value");
  fields.unsupported("suffix", "");
  fields.unsupported("best_of", ask.n);
  fields.done();
  if (static_cast<int64_t>(ask.prompts.size()) * ask.n > kMostAnswers)
    throw ApiError(400, cat("n - got ", ask.n, " answers to ", ask.prompts.size(), " prompts, want at most ",
                            kMostAnswers, " answers in one request"), "n", "invalid_value");
  return ask;
}

ChatAsk parse_chat(const Json& body, Token vocabulary) {
  Fields fields(body);
  ChatAsk ask;
  ask.messages = parse_messages(fields);
  parse_common(fields, ask, vocabulary);
  const auto old_name = fields.integer("max_tokens", 1, kMostTokens);
  ask.max_tokens = fields.integer("max_completion_tokens", 1, kMostTokens);
  if (old_name && ask.max_tokens && *old_name != *ask.max_tokens)
    throw ApiError(400, cat("max_tokens - got ", *old_name, " and max_completion_tokens ", *ask.max_tokens,
                            ", want one of the two"), "max_tokens", "invalid_value");
  if (old_name) ask.max_tokens = old_name;
  const bool logprobs = fields.flag("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, kMostAlternatives);
  if (top && !logprobs)
    throw ApiError(400, "top_logprobs - got some without logprobs, want logprobs true", "top_logprobs",
                   "invalid_value");
  ask.alternatives = logprobs ? static_cast<int>(top.value_or(0)) : -1;
  fields.unsupported("tools", Json::array());
  fields.unsupported("tool_choice", "none");
  fields.unsupported("functions", Json::array());
  fields.unsupported("function_call", "none");
  fields.unsupported("parallel_tool_calls", true);
  fields.unsupported("modalities", Json::array({"text"}));
  fields.unsupported("store", false);
  fields.unsupported("service_tier", "auto");
  for (const char* const name : {"audio", "metadata", "prediction", "reasoning_effort", "verbosity", "web_search_options"})
    fields.unsupported(name);
  fields.done();
  return ask;
}

EmbeddingAsk parse_embedding(const Json& body, Token vocabulary) {
  Fields fields(body);
  EmbeddingAsk ask;
  ask.model = fields.text("model").value_or("");
  ask.inputs = parse_prompts(fields, "input", fields.required("input", "a text"), vocabulary, kMostInputs);
  if (const auto format = fields.text("encoding_format")) {
    if (*format != "float" && *format != "base64")
      fields.wrong("encoding_format", Json(*format), "float or base64");
    ask.base64 = *format == "base64";
  }
  fields.text("user");
  fields.unsupported("dimensions");
  fields.done();
  return ask;
}

}  // namespace shoal::serve
