// shoal generate CHECKPOINT --prompt TEXT: lets a trained gpt or llama go on writing.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "comm/launch.h"
#include "serve/generate.h"
#include "shoal/error.h"
#include "shoal/world.h"

namespace shoal::cli {
namespace {

struct Options {
  std::string checkpoint, prompts_file;
  std::vector<std::string> prompts;
  int devices = 1;
  serve::GenerateOptions generate;
};

std::vector<std::string> read_prompts(const Options& options) {
  std::vector<std::string> prompts = options.prompts;
  for (const std::string& prompt : prompts)
    if (prompt.empty())
      throw InputError("--prompt - got an empty text, want at least one character to go on from");
  if (!options.prompts_file.empty()) {
    std::ifstream file(options.prompts_file);
    if (!file)
      throw InputError(
          cat(options.prompts_file, " - cannot be read: want a file with a prompt on each line"));
    int64_t number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      if (line.empty())
        throw InputError(
            cat(options.prompts_file, ":", number, " - got an empty line, want a prompt on each line"));
      prompts.push_back(line);
    }
  }
  if (prompts.empty())
    throw InputError("shoal generate - prompt: got none, want --prompt TEXT or --prompts FILE");
  return prompts;
}

/// One device's part.
void generate_here(World& world, const Options& options, const std::vector<std::string>& prompts,
                   serve::TextModel& model) {
  comm::Group group(world.communicator());
  const std::vector<std::string> texts = serve::generate_all(group, model, prompts, options.generate);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) std::fputs("---\n", stdout);
    const std::string text = prompts[i] + texts[i] + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  if (std::fflush(stdout) != 0)
    throw JobError("standard output - cannot be written: the disk may be full, or its reader gone");
}

int run(const Options& options, const Invocation& invocation) {
  const std::vector<std::string> prompts = read_prompts(options);
  if (comm::is_launched())
    return guarded_main(invocation.argc, invocation.argv, [&](World& world) {
      serve::TextModel model(options.checkpoint);
      generate_here(world, options, prompts, model);
    });
  if (options.devices < 1 || options.devices > comm::kMaxDevices)
    throw InputError(cat("--devices - got ", options.devices, ", want 1 to ", comm::kMaxDevices));
  if (!(options.generate.temperature >= 0 && options.generate.temperature < 1e6))
    throw InputError(cat("--temperature - got ", options.generate.temperature, ", want at least 0"));
  if (options.generate.tokens < 1)
    throw InputError(cat("--tokens - got ", options.generate.tokens, ", want at least 1"));
  if (options.generate.top_k < 0)
    throw InputError(cat("--top-k - got ", options.generate.top_k, ", want at least 0"));
  serve::TextModel model(options.checkpoint);
  if (options.devices > 1) {
    const std::vector<std::string> command(invocation.argv, invocation.argv + invocation.argc);
    return comm::launch({options.devices, command, "shoal"});
  }
  World world(invocation.argc, invocation.argv);
  generate_here(world, options, prompts, model);
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const generate = app.add_subcommand(
      "generate", "Let a trained gpt or llama go on writing, prompts shared out over the devices");
  generate
      ->add_option("CHECKPOINT", options->checkpoint,
                   "a checkpoint, a link to one, or a folder of checkpoints (then the latest)")
      ->required();
  generate->add_option("--prompt", options->prompts, "text to go on from; may be repeated")
      ->type_name("TEXT")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
  generate->add_option("--prompts", options->prompts_file, "a file with a prompt on each line")
      ->type_name("FILE");
  generate
      ->add_option("--tokens", options->generate.tokens,
                   "at most so many, 200 unless told; a document's end comes before")
      ->type_name("N");
  generate
      ->add_option("--temperature", options->generate.temperature,
                   "0, the default: always the likeliest token; 1: as learned")
      ->type_name("T");
  generate->add_option("--top-k", options->generate.top_k, "sample among the K likeliest tokens")
      ->type_name("K");
  generate->add_option("--seed", options->generate.seed, "of the sampling; 1 unless told")->type_name("S");
  generate
      ->add_option("--devices", options->devices,
                   "processes that share out the prompts; the text does not depend on it")
      ->type_name("N");
  generate->callback([options, &invocation] {
    invocation.chosen = [options, &invocation] { return run(*options, invocation); };
  });
}

}  // namespace shoal::cli
