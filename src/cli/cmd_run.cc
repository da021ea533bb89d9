// shoal run -n N PROGRAM ARGS...: any program that uses shoal::World, on N devices of this machine.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/usage.h"
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
  std::error_code ignored;
  if (!fs::exists(program, ignored))
    throw InputError(cat("shoal run - ", program, ": got no such file, want a program"));
  if (!is_program(program))
    throw InputError(cat("shoal run - ", program, ": got a file that cannot be executed, want a program"));
}

}  // namespace

void add_run(CLI::App& app, Invocation& invocation) {
  const auto devices = std::make_shared<int>(1);
  CLI::App* const run = app.add_subcommand(
      "run", "-n N PROGRAM ARGS...: run a program that uses shoal::World on N devices of this machine");
  number<int>(run->add_option("-n,--devices", *devices, "How many processes"))->required()->type_name("N");
  run->prefix_command();  // the program and all that follows is none of our flags
  run->callback([devices, run, &invocation] {
    invocation.chosen = [devices, command = run->remaining()] {
      if (*devices < 1 || *devices > comm::kMaxDevices)
        throw InputError(cat("shoal run - -n: got ", *devices, ", want 1 to ", comm::kMaxDevices));
      if (command.empty()) throw InputError("shoal run - PROGRAM: got nothing, want a program to run");
      check_program(command.front());
      return comm::launch({*devices, command, "shoal run"});
    };
  });
}

}  // namespace shoal::cli
