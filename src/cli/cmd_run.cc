// shoal run -n N PROGRAM ARGS...: any program that uses shoal::World, on N devices of this machine.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

bool is_program(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && access(path.c_str(), X_OK) == 0;
}

// As a shell finds it: a name with a slash is a path, any other is looked up in PATH.
void check_program(const std::string& program) {
  const char* const search = std::getenv("PATH");
  if (program.find('/') == std::string::npos) {
    for (const std::string& folder : split(search ? search : "", ':'))
      if (is_program(fs::path(folder) / program)) return;
    const bool is_here = is_program(program);
    throw InputError(cat("shoal run - ", program, ": got no such program in PATH, want one that exists",
                         is_here ? cat("; to run the one in this folder, say ./", program) : ""));
  }
  if (!fs::exists(program))
    throw InputError(cat("shoal run - ", program, ": got no such file, want a program"));
  if (!is_program(program))
    throw InputError(cat("shoal run - ", program, ": got a file that cannot be executed, want a program"));
}

struct Options {
  int devices = 1;
  std::vector<std::string> command;
};

}  // namespace

void add_run(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const run = app.add_subcommand("run", "Run a program on several devices of this machine");
  run->add_option("-n,--devices", options->devices, "How many processes")->required();
  run->add_option("command", options->command, "The program and its arguments")
      ->required()
      ->type_name("PROGRAM ARGS...");
  run->prefix_command();  // what follows the program is the program's
  run->callback([options, run, &invocation] {
    const auto rest = run->remaining();
    options->command.insert(options->command.end(), rest.begin(), rest.end());
    invocation.chosen = [options] {
      if (options->devices < 1 || options->devices > comm::kMaxDevices)
        throw InputError(cat("shoal run - -n: got ", options->devices, ", want 1 to ", comm::kMaxDevices));
      check_program(options->command.front());
      return comm::launch({options->devices, options->command, "shoal run"});
    };
  });
}

}  // namespace shoal::cli
