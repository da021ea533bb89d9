// shoal generate CHECKPOINT --prompt TEXT: lets a trained gpt or llama go on writing.
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>

#include "app/generate.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "comm/launch.h"
#include "data/rounds.h"
#include "shoal/error.h"
#include "shoal/world.h"

namespace shoal::cli {
namespace {

constexpr const char* kHandedOver = "--handed-over";

struct Options {
  std::string checkpoint, prompts_file;
  std::string handed_over;  // to a device by the command that started it: a file with the prompts
  std::vector<std::string> prompts;
  int devices = 1;
  app::GenerateOptions generate;
};

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

/// Prompts, of any bytes, as one text.
std::string packed(const std::vector<std::string>& prompts) {
  std::string text;
  for (const std::string& prompt : prompts) text += cat(prompt.size(), " ", prompt);
  return text;
}

std::vector<std::string> unpacked(std::string_view text) {
  std::vector<std::string> prompts;
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const size_t size = std::stoull(std::string(text.substr(0, space)));
    prompts.emplace_back(text.substr(space + 1, size));
    text.remove_prefix(space + 1 + size);
  }
  return prompts;
}

/// The prompts in a file without a name, which the devices inherit: what they were read from may be a pipe,
/// which gives each line to one reader alone. Returns the path by which a device opens it.
std::string hand_over(const std::vector<std::string>& prompts) {
  const std::string text = packed(prompts);
  const int descriptor = memfd_create("prompts", 0);
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = descriptor < 0 ? -1 : write(descriptor, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      throw JobError(cat("prompts - cannot be handed over: ", std::generic_category().message(errno),
                         "; use one device"));
    done += static_cast<size_t>(count);
  }
  return cat("/dev/fd/", descriptor);
}

/// On a device. Where another program started the devices, the first of them reads for all.
std::vector<std::string> shared_prompts(World& world, const Options& options) {
  if (!options.handed_over.empty()) {
    std::ifstream file(options.handed_over);
    return unpacked(std::string{std::istreambuf_iterator<char>(file), {}});
  }
  comm::Group group(world.communicator());
  return unpacked(data::share_text(group, 0, world.rank() == 0 ? packed(read_prompts(options)) : ""));
}

/// One device's part.
void generate_here(World& world, const Options& options, const std::vector<std::string>& prompts,
                   app::TextModel& model) {
  comm::Group group(world.communicator());
  const std::vector<std::string> texts = app::generate_all(group, model, prompts, options.generate);
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) std::fputs("---\n", stdout);
    const std::string text = prompts[i] + texts[i] + "\n";
    std::fwrite(text.data(), 1, text.size(), stdout);
  }
  if (std::fflush(stdout) != 0)
    throw JobError("standard output - cannot be written: the disk may be full, or its reader gone");
}

int run(const Options& options, const Invocation& invocation) {
  if (comm::is_launched())
    return guarded_main(invocation.argc, invocation.argv, [&](World& world) {
      app::TextModel model(options.checkpoint);
      generate_here(world, options, shared_prompts(world, options), model);
    });
  if (options.devices < 1 || options.devices > comm::kMaxDevices)
    throw InputError(cat("--devices - got ", options.devices, ", want 1 to ", comm::kMaxDevices));
  if (!(options.generate.temperature >= 0 && options.generate.temperature < 1e6))
    throw InputError(cat("--temperature - got ", options.generate.temperature, ", want at least 0"));
  if (options.generate.tokens < 1)
    throw InputError(cat("--tokens - got ", options.generate.tokens, ", want at least 1"));
  if (options.generate.top_k < 0)
    throw InputError(cat("--top-k - got ", options.generate.top_k, ", want at least 0"));
  comm::check_started_once();
  app::TextModel model(options.checkpoint);
  const std::vector<std::string> prompts = read_prompts(options);
  if (options.devices > 1) {
    std::vector<std::string> command(invocation.argv, invocation.argv + invocation.argc);
    command.insert(command.end(), {kHandedOver, hand_over(prompts)});
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
  generate
      ->add_option("--prompts", options->prompts_file, "a file with a prompt on each line; -: standard input")
      ->type_name("FILE");
  generate->add_option(kHandedOver, options->handed_over)->group("");
  number<int64_t>(generate->add_option("--tokens", options->generate.tokens,
                                       "at most so many, 200 unless told; a document's end comes before"))
      ->type_name("N");
  number<double>(generate->add_option("--temperature", options->generate.temperature,
                                      "0, the default: always the likeliest token; 1: as learned"))
      ->type_name("T");
  number<int64_t>(
      generate->add_option("--top-k", options->generate.top_k, "sample among the K likeliest tokens"))
      ->type_name("K");
  number<uint64_t>(generate->add_option("--seed", options->generate.seed, "of the sampling; 1 unless told"))
      ->type_name("S");
  number<int>(generate->add_option("--devices", options->devices,
                                   "processes that share out the prompts; the text does not depend on it"))
      ->type_name("N");
  generate->callback([options, &invocation] {
    invocation.chosen = [options, &invocation] { return run(*options, invocation); };
  });
}

}  // namespace shoal::cli
