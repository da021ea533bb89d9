// A model of the disk with its engine, as the server sees it.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/hash.h"
#include "base/text.h"
#include "formats/model_file.h"
#include "serve/model.h"
#include "text/chat_template.h"

namespace shoal::serve {
namespace {

/// The text of a token that templates name, as "<s>".
std::string named(const text::Tokenizer& tokenizer, const std::optional<Token>& token) {
  return token ? tokenizer.piece(*token, true) : std::string();
}

bool has_chatml(const text::TokenizerSpec& spec) {
  for (const text::VocabularyEntry& entry : spec.vocabulary)
    if (entry.text == "<|im_start|>") return true;
  return false;
}

int64_t modified(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto time = std::filesystem::last_write_time(path, ignored);
  if (ignored) return 0;
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::file_clock::to_sys(time).time_since_epoch())
      .count();
}

class EngineModel final : public Model {
 public:
  EngineModel(const std::string& path, const std::string& name, const infer::EngineOptions& options)
      : file_(formats::open_model(path)),
        tokenizer_(text::make_tokenizer(file_->tokenizer(), file_->place())),
        template_source_(file_->chat_template().empty()
                             ? text::default_chat_template(has_chatml(tokenizer_->spec()))
                             : file_->chat_template()),
        template_(template_source_, cat(file_->place(), " - chat template")),
        engine_(path, options) {
    const formats::ModelConfig& config = file_->config();
    std::filesystem::path clean(path);
    if (!clean.has_filename()) clean = clean.parent_path();  // a folder with a slash behind
    facts_.name = !name.empty() ? name : clean.extension() == ".gguf" ? clean.stem().string() : clean.filename().string();
    facts_.context = engine_.context();
    facts_.vocabulary = static_cast<Token>(std::min<int64_t>(tokenizer_->size(), config.vocabulary));
    facts_.created = modified(path);
    // Of what the model says of itself and when it was written: hashing gigabytes would take longer than loading.
    facts_.fingerprint = "fp_" + hash_hex(cat(config.name, " ", config.layers, " ", config.width, " ", config.vocabulary,
                                              " ", facts_.created, " ", template_source_))
                                     .substr(0, 12);
    const infer::EngineState state = engine_.state();
    facts_.description =
        cat(config.layers, " layers of width ", config.width, ", context ", facts_.context, "; layout tp=", options.tp,
            ",pp=", options.pp, ",dp=", options.dp, "; cache for ", state.cache_places, " tokens");
  }

  const ModelFacts& facts() const override { return facts_; }
  const text::Tokenizer& tokenizer() const override { return *tokenizer_; }

  std::vector<Token> chat_prompt(const nlohmann::ordered_json& messages) const override {
    text::ChatTemplate::Inputs inputs;
    inputs.messages = messages;
    inputs.bos_token = named(*tokenizer_, tokenizer_->spec().bos);
    inputs.eos_token = named(*tokenizer_, tokenizer_->spec().eos);
    // The template writes special tokens itself, the first of the text too.
    return tokenizer_->encode(template_.render(inputs), {false, true});
  }

  std::shared_ptr<const text::Grammar> gbnf(const std::string& text) const override {
    return text::parse_gbnf(text, *tokenizer_);
  }
  std::shared_ptr<const text::Grammar> schema(const nlohmann::ordered_json& schema) const override {
    return text::grammar_of_schema(schema, *tokenizer_);
  }
  std::shared_ptr<const text::Grammar> any_object() const override { return text::any_json_object(*tokenizer_); }

  uint64_t submit(infer::Request request, infer::Callbacks callbacks) override {
    return engine_.submit(std::move(request), std::move(callbacks));
  }
  void cancel(uint64_t id) override { engine_.cancel(id); }
  std::vector<float> embed(const std::vector<Token>& tokens) override { return engine_.embed(tokens); }
  infer::EngineState state() const override { return engine_.state(); }

 private:
  const std::shared_ptr<const formats::ModelFile> file_;
  const std::unique_ptr<const text::Tokenizer> tokenizer_;  // outlives the grammars of requests
  const std::string template_source_;
  const text::ChatTemplate template_;
  ModelFacts facts_;
  infer::Engine engine_;  // ends first
};

}  // namespace

std::shared_ptr<Model> load_model(const std::string& path, const std::string& name,
                                  const infer::EngineOptions& options) {
  return std::make_shared<EngineModel>(path, name, options);
}

}  // namespace shoal::serve
