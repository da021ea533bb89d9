// shoal generate MODEL --prompt TEXT: lets a model go on writing.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "app/answers_file.h"
#include "app/generate.h"
#include "base/hash.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/usage.h"
#include "comm/launch.h"
#include "formats/model_file.h"
#include "shoal/error.h"

namespace shoal::cli {
namespace {

struct Options {
  EngineFlags engine;
  std::string prompts_file, out;
  std::vector<std::string> prompts;
  app::GenerateOptions generate;
};

// A line of a file of prompts: the prompt, or of .jsonl an object that has it.
std::string prompt_of(const std::string& line, const std::string& place, bool is_json) {
  if (!is_json) {
    if (line.empty()) throw InputError(cat(place, " - got an empty line, want a prompt on each line"));
    return line;
  }
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("prompt") || !json["prompt"].is_string() ||
      json["prompt"].get<std::string>().empty())
    throw InputError(
        cat(place, " - got no prompt, want a JSON object on each line, with a text as \"prompt\""));
  return json["prompt"].get<std::string>();
}

std::vector<std::string> read_prompts(const Options& options) {
  std::vector<std::string> prompts = options.prompts;
  for (const std::string& prompt : prompts)
    if (prompt.empty())
      throw InputError("--prompt - got an empty text, want at least one character to go on from");
  if (!options.prompts_file.empty()) {
    std::error_code ignored;
    std::ifstream file(options.prompts_file == "-" ? "/dev/stdin" : options.prompts_file);
    if (!file || std::filesystem::is_directory(options.prompts_file, ignored))
      throw InputError(
          cat(options.prompts_file, " - cannot be read: want a file with a prompt on each line"));
    int64_t number = 0;
    for (std::string line; std::getline(file, line);)
      prompts.push_back(prompt_of(line, cat(options.prompts_file, ":", ++number),
                                  options.prompts_file.ends_with(".jsonl")));
  }
  if (prompts.empty())
    throw InputError("shoal generate - prompt: got none, want --prompt TEXT or --prompts FILE");
  return prompts;
}

// All that decides an answer, but for the weights.
std::string key_of(const Options& options, const std::string& prompt, size_t number) {
  const app::GenerateOptions& how = options.generate;
  return hash_hex(cat(options.engine.model, "\n", how.tokens, " ", how.temperature, " ", how.top_k, " ",
                      how.top_p, " ", how.seed, " ", how.temperature > 0 ? number : 0, "\n", prompt));
}

void print(size_t number, const std::string& prompt, const app::Generated& generated) {
  if (number > 0) std::fputs("---\n", stdout);
  const std::string text = prompt + generated.text + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (std::fflush(stdout) != 0)
    throw JobError("standard output - cannot be written: the disk may be full, or its reader gone");
}

void generate(const Options& options, const infer::EngineOptions& engine_options) {
  const auto file = formats::open_model(options.engine.model);
  const auto tokenizer = text::make_tokenizer(file->tokenizer(), file->place());
  const std::vector<std::string> prompts = read_prompts(options);
  std::optional<app::AnswersFile> out;
  if (!options.out.empty()) {
    std::vector<std::string> keys;
    for (size_t i = 0; i < prompts.size(); ++i) keys.push_back(key_of(options, prompts[i], i));
    out.emplace(options.out, keys);
    if (out->lines() == prompts.size()) return;
  }
  infer::Engine engine(options.engine.model, engine_options);
  app::generate_all(engine, *tokenizer, prompts, out ? out->lines() : 0, options.generate,
                    [&](size_t number, const app::Generated& generated) {
                      if (out)
                        out->add(prompts[number], generated);
                      else
                        print(number, prompts[number], generated);
                    });
}

int run(const Options& options) {
  infer::EngineOptions engine = engine_options(options.engine);
  if (!(options.generate.temperature >= 0 && options.generate.temperature < 1e6))
    throw InputError(cat("--temperature - got ", options.generate.temperature, ", want at least 0"));
  if (!(options.generate.top_p >= 0 && options.generate.top_p <= 1))
    throw InputError(cat("--top-p - got ", options.generate.top_p, ", want 0 to 1"));
  if (options.generate.tokens < 1)
    throw InputError(cat("--tokens - got ", options.generate.tokens, ", want at least 1"));
  if (options.generate.top_k < 0)
    throw InputError(cat("--top-k - got ", options.generate.top_k, ", want at least 0"));
  comm::check_started_once();
  if (!comm::is_launched()) {
    generate(options, engine);
    return 0;
  }
  // Under shoal run -n N: the first of them answers for all, on as many devices.
  const auto job = comm::from_environment();
  if (job->rank() != 0) return 0;
  if (options.engine.layout.empty()) engine.dp = job->size();
  try {
    generate(options, engine);
    return 0;
  } catch (const Error& error) {
    comm::report_failure(error.what(), error.exit_code());
    return error.exit_code();
  }
}

}  // namespace

void add_generate(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const generate = app.add_subcommand("generate", "Let a model go on writing from prompts");
  add_engine_flags(*generate, "MODEL", options->engine);
  generate->add_option("--prompt", options->prompts, "text to go on from; may be repeated")
      ->type_name("TEXT")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
  generate
      ->add_option("--prompts", options->prompts_file,
                   "a file with a prompt on each line, or .jsonl with {\"prompt\": ...}; -: standard input")
      ->type_name("FILE");
  generate
      ->add_option(
          "--out", options->out,
          "write the answers there, a line of JSON each, in order; if it is there already, go on with it")
      ->type_name("FILE");
  number<int64_t>(generate->add_option("--tokens,--max-tokens", options->generate.tokens,
                                       "at most so many, 200 unless told; an end of the text comes before"))
      ->type_name("N");
  number<double>(generate->add_option("--temperature", options->generate.temperature,
                                      "0, the default: always the likeliest token; 1: as learned"))
      ->type_name("T");
  number<int64_t>(
      generate->add_option("--top-k", options->generate.top_k, "sample among the K likeliest tokens"))
      ->type_name("K");
  number<double>(
      generate->add_option("--top-p", options->generate.top_p,
                           "sample among the likeliest tokens that have this probability together"))
      ->type_name("P");
  number<uint64_t>(generate->add_option("--seed", options->generate.seed, "of the sampling; 1 unless told"))
      ->type_name("S");
  generate->callback([options, &invocation] { invocation.chosen = [options] { return run(*options); }; });
}

}  // namespace shoal::cli
