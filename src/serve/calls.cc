// The calls of the API, a function for each path.
#include <array>
#include <cstring>
#include <random>
#include <utility>

#include "base/fault.h"
#include "base/text.h"
#include "serve/api.h"
#include "serve/page.h"
#include "shoal/error.h"

namespace shoal::serve {
namespace {

Reply json(const Json& object, int status = 200) { return {status, "application/json", dump(object)}; }

std::vector<Token> tokens_of(const Model& model, const Prompt& prompt) {
  std::vector<Token> tokens;
  if (const auto* const given = std::get_if<std::vector<Token>>(&prompt)) {
    tokens = *given;
  } else {
    tokens = model.tokenizer().encode(std::get<std::string>(prompt), {true, true});
  }
  // What follows nothing follows a document's beginning, or another's end.
  const text::TokenizerSpec& spec = model.tokenizer().spec();
  if (tokens.empty() && (spec.bos || spec.eos)) tokens.push_back(spec.bos ? *spec.bos : *spec.eos);
  return tokens;
}

/// Answer and prompt together fit the context. Sets what the client left open.
void fit(const Model& model, const std::vector<Token>& prompt, std::optional<int64_t>& max_tokens,
         const std::string& param) {
  const auto length = static_cast<int64_t>(prompt.size());
  const int64_t context = model.facts().context;
  if (length == 0) throw ApiError(400, cat(param, " - got no tokens, want at least one"), param, "invalid_value");
  if (length + max_tokens.value_or(1) > context)
    throw ApiError(400, cat(param, " - got ", length, " tokens, and at least ", max_tokens.value_or(1),
                            " to answer, want at most ", context, " together, the model's context"), param,
                   "context_length_exceeded");
  if (!max_tokens) max_tokens = context - length;
}

std::shared_ptr<const text::Grammar> grammar_of(const Model& model, const Ask& ask) {
  const char* const param = ask.form == Form::kGbnf ? "grammar" : "response_format";
  try {
    switch (ask.form) {
      case Form::kFree: return nullptr;
      case Form::kObject: return model.any_object();
      case Form::kSchema: return model.schema(ask.schema);
      case Form::kGbnf: return model.gbnf(ask.gbnf);
    }
  } catch (const InputError& error) {
    throw ApiError(400, error.what(), param, "invalid_value");
  }
  return nullptr;
}

void draw_seed(Ask& ask) {
  if (ask.seeded) return;
  std::random_device device;
  ask.sampling.seed = uint64_t{device()} << 32 | device();
}

std::string base64(const std::vector<float>& values) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<unsigned char> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());  // little-endian, as OpenAI has it and our machines are
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < count ? bytes[i + k] : 0);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace

void Api::page(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>& exchange) {
  exchange->reply({200, "text/html; charset=utf-8", std::string(kPage)});
}

void Api::health(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>& exchange) {
  const char* word = "ok";
  {
    const std::lock_guard lock(mutex_);
    if (!model_)
      word = "loading";
    else if (draining_)
      word = "draining";
    else if (!model_->state().ready)
      word = "restarting";
  }
  Reply reply = json({{"status", word}}, std::string_view(word) == "ok" ? 200 : 503);
  exchange->reply(reply);
}

void Api::metrics(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>& exchange) {
  std::shared_ptr<Model> model;
  {
    const std::lock_guard lock(mutex_);
    model = model_;
  }
  const infer::EngineState state = model ? model->state() : infer::EngineState{};
  exchange->reply({200, "text/plain; version=0.0.4; charset=utf-8",
                   metrics_.text(model ? &state : nullptr, connections_)});
}

void Api::models(const HttpRequest& request, const std::string&, const std::shared_ptr<Exchange>& exchange) {
  const auto served = model();
  const ModelFacts& facts = served->facts();
  const Json entry = {{"id", facts.name},         {"object", "model"},          {"created", facts.created},
                      {"owned_by", "shoal"},      {"context", facts.context},   {"vocabulary", facts.vocabulary}};
  constexpr std::string_view kOne = "/v1/models/";
  if (!request.path.starts_with(kOne))
    return exchange->reply(json({{"object", "list"}, {"data", Json::array({entry})}}));
  model(request.path.substr(kOne.size()));  // or 404
  exchange->reply(json(entry));
}

void Api::generate(const std::shared_ptr<Model>& model, decltype(&completion_format) make_format, Ask ask,
                   Generation::Work work, const std::shared_ptr<Exchange>& exchange) {
  draw_seed(ask);
  work.grammar = grammar_of(*model, ask);
  work.ask = std::move(ask);
  auto format = make_format(model, work.ask.alternatives, work.ask.stream, work.ask.include_usage);
  check_queue(*model, static_cast<int64_t>(work.prompts.size()) * work.ask.n);
  const auto generation =
      std::make_shared<Generation>(model, std::move(format), std::move(work), exchange, metrics_);
  {
    const std::lock_guard lock(mutex_);
    generations_.push_back(generation);
  }
  generation->start();
}

void Api::completions(const HttpRequest& request, const std::string& client,
                      const std::shared_ptr<Exchange>& exchange) {
  const Json body = parse_body(request.body);
  const auto loaded = model();
  CompletionAsk ask = parse_completion(body, loaded->facts().vocabulary);
  model(ask.model);
  Generation::Work work;
  for (const Prompt& prompt : ask.prompts) {
    work.prompts.push_back(tokens_of(*loaded, prompt));
    fit(*loaded, work.prompts.back(), ask.max_tokens, "prompt");
    if (!ask.echo) continue;
    const auto* const text = std::get_if<std::string>(&prompt);
    work.echoes.push_back(text ? *text : loaded->tokenizer().decode(work.prompts.back()));
  }
  work.client = client;
  generate(loaded, completion_format, std::move(static_cast<Ask&>(ask)), std::move(work), exchange);
}

void Api::chat(const HttpRequest& request, const std::string& client, const std::shared_ptr<Exchange>& exchange) {
  const Json body = parse_body(request.body);
  const auto loaded = model();
  ChatAsk ask = parse_chat(body, loaded->facts().vocabulary);
  model(ask.model);
  Generation::Work work;
  try {
    work.prompts.push_back(loaded->chat_prompt(ask.messages));
  } catch (const InputError& error) {
    throw ApiError(400, error.what(), "messages", "invalid_value");
  }
  fit(*loaded, work.prompts.back(), ask.max_tokens, "messages");
  work.client = client;
  generate(loaded, chat_format, std::move(static_cast<Ask&>(ask)), std::move(work), exchange);
}

void Api::embeddings(const HttpRequest& request, const std::string&, const std::shared_ptr<Exchange>& exchange) {
  const auto loaded = model();
  const EmbeddingAsk ask = parse_embedding(parse_body(request.body), loaded->facts().vocabulary);
  model(ask.model);
  std::vector<std::vector<Token>> inputs;
  int64_t tokens = 0;
  for (const Prompt& input : ask.inputs) {
    std::optional<int64_t> none = 0;
    inputs.push_back(tokens_of(*loaded, input));
    fit(*loaded, inputs.back(), none, "input");
    tokens += static_cast<int64_t>(inputs.back().size());
  }
  exchange->note("prompt_tokens", tokens);
  const bool taken = embedding_.add([loaded, exchange, inputs = std::move(inputs), tokens, in_base64 = ask.base64] {
    try {
      Json data = Json::array();
      for (size_t i = 0; i < inputs.size(); ++i) {
        const std::vector<float> values = loaded->embed(inputs[i]);
        data.push_back({{"object", "embedding"},
                        {"index", i},
                        {"embedding", in_base64 ? Json(base64(values)) : Json(values)}});
      }
      exchange->reply(json({{"object", "list"},
                            {"data", std::move(data)},
                            {"model", loaded->facts().name},
                            {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}}));
    } catch (...) {
      const ApiError error(500, describe_exception(), "", "engine_failed");
      exchange->note("error", error.what());
      exchange->reply(error.reply());
    }
  });
  if (taken) return;
  ApiError error(429, "queue - got too many requests for embeddings that wait; send it again later", "", "queue_full");
  error.retry_after_seconds = 1;
  throw error;
}

void Api::tokenize(const HttpRequest& request, const std::string&, const std::shared_ptr<Exchange>& exchange) {
  const auto loaded = model();
  const Json body = parse_body(request.body);
  Fields fields(body);
  fields.required("text", "a text");
  const std::string text = *fields.text("text");
  const bool special = fields.flag("add_special").value_or(false);
  const bool parse = fields.flag("parse_special").value_or(true);
  fields.text("model");
  fields.done();
  const auto tokens = loaded->tokenizer().encode(text, {special, parse});
  exchange->reply(json({{"tokens", tokens}, {"count", tokens.size()}}));
}

void Api::detokenize(const HttpRequest& request, const std::string&, const std::shared_ptr<Exchange>& exchange) {
  const auto loaded = model();
  const Json body = parse_body(request.body);
  Fields fields(body);
  const auto tokens =
      parse_tokens(fields, "tokens", fields.required("tokens", "a list of tokens"), loaded->facts().vocabulary);
  const bool special = fields.flag("special").value_or(true);
  fields.text("model");
  fields.done();
  text::Utf8Stream stream;
  std::string text = stream.add(loaded->tokenizer().decode(tokens, special));
  text += stream.finish();
  exchange->reply(json({{"text", text}}));
}

void Api::admin_reload(const HttpRequest&, const std::string&, const std::shared_ptr<Exchange>& exchange) {
  reload([exchange](const std::string& sentence) {
    if (sentence.empty()) return exchange->reply(json({{"status", "reloaded"}}));
    exchange->note("error", sentence);
    exchange->reply(ApiError(sentence.starts_with("reload - ") ? 409 : 500, sentence, "", "reload_failed").reply());
  });
}

}  // namespace shoal::serve
