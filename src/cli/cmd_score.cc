// shoal score MODEL --text FILE: how likely a model finds texts.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/generate.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "comm/launch.h"
#include "formats/model_file.h"
#include "shoal/error.h"

namespace shoal::cli {
namespace {

struct Options {
  EngineFlags engine;
  std::vector<std::string> files, prompts;
};

std::string read_text(const std::string& path) {
  std::ifstream file(path == "-" ? "/dev/stdin" : path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) throw InputError(cat(path, " - cannot be read: want a file of text"));
  if (text.empty()) throw InputError(cat(path, " - got no text, want some to score"));
  return text;
}

void print(const app::Score& score) {
  nlohmann::ordered_json json;
  json["tokens"] = score.tokens;
  for (const float logprob : score.logprobs)
    json["logprobs"].push_back(std::isnan(logprob) ? nlohmann::ordered_json()
                                                   : nlohmann::ordered_json(logprob));
  json["sum"] = score.sum;
  json["perplexity"] = score.scored > 0
                           ? nlohmann::ordered_json(std::exp(-score.sum / static_cast<double>(score.scored)))
                           : nlohmann::ordered_json();
  std::printf("%s\n", json.dump().c_str());
}

int run(const Options& options) {
  const infer::EngineOptions how = engine_options(options.engine);
  std::vector<std::string> texts = options.prompts;
  for (const std::string& text : texts)
    if (text.empty()) throw InputError("--prompt - got an empty text, want some to score");
  for (const std::string& path : options.files) texts.push_back(read_text(path));
  if (texts.empty()) throw InputError("shoal score - text: got none, want --text FILE or --prompt TEXT");
  comm::check_started_once();
  const auto file = formats::open_model(options.engine.model);
  const auto tokenizer = text::make_tokenizer(file->tokenizer(), file->place());
  infer::Engine engine(options.engine.model, how);
  for (const std::string& text : texts) print(app::score_text(engine, *tokenizer, text));
  return 0;
}

}  // namespace

void add_score(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const score = app.add_subcommand(
      "score",
      "Print how likely a model finds texts: a line of JSON for each, log-probabilities of every token");
  add_engine_flags(*score, "MODEL", options->engine);
  score->add_option("--text", options->files, "a file of text; may be repeated; -: standard input")
      ->type_name("FILE")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
  score->add_option("--prompt", options->prompts, "a text; may be repeated")
      ->type_name("TEXT")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
  score->callback([options, &invocation] { invocation.chosen = [options] { return run(*options); }; });
}

}  // namespace shoal::cli
