// The `shoal` command: picks the subcommand, turns errors into one sentence and an exit code.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "base/fault.h"
#include "cli/commands.h"
#include "cli/usage.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace {

// A descriptor that is closed would be given to the next file, and what is said would be written into that.
void open_standard_descriptors() {
  for (;;) {
    const int descriptor = open("/dev/null", O_RDWR);
    if (descriptor > STDERR_FILENO) close(descriptor);
    if (descriptor < 0 || descriptor > STDERR_FILENO) return;
  }
}

}  // namespace

bool shoal::cli::is_terminal(int descriptor) {
  const char* const kind = std::getenv("TERM");
  return isatty(descriptor) == 1 && !(kind && kind == std::string_view("dumb"));
}

namespace {

int run(const shoal::cli::Invocation& invocation) {
  const int exit_code = invocation.chosen();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  throw shoal::JobError("standard output - cannot be written: what was printed is not complete");
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_descriptors();
  shoal::comm::survive_full_files();
  CLI::App app(
      "Shoal: your LibTorch model, unchanged, on any set of devices; the layout never changes the answer.",
      "shoal");
  app.require_subcommand(1);
  app.set_version_flag("--version", SHOAL_VERSION, "Print the version and exit");
  shoal::cli::Invocation invocation{argc, argv, {}};
  shoal::cli::add_train(app, invocation);
  shoal::cli::add_plan(app, invocation);
  shoal::cli::add_trace(app, invocation);
  shoal::cli::add_predict(app, invocation);
  shoal::cli::add_generate(app, invocation);
  shoal::cli::add_score(app, invocation);
  shoal::cli::add_serve(app, invocation);
  shoal::cli::add_run(app, invocation);
  shoal::cli::add_data(app, invocation);
  shoal::cli::add_checkpoint(app, invocation);
  shoal::cli::add_convert(app, invocation);
  // Last, so that the commands do not inherit it.
  app.footer(
      "Exit codes: 0 done, 1 the job failed or was stopped, 2 bad usage or bad input.\n"
      "`shoal COMMAND --help` says more of a command.");
  try {
    app.parse(argc, argv);
    return run(invocation);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const std::string sentence = shoal::cli::usage_sentence(app, error);
    std::fprintf(stderr, "%s%s\n", sentence.starts_with("shoal:") ? "" : "shoal: ", sentence.c_str());
    return 2;
  } catch (const shoal::Error& error) {
    std::fprintf(stderr, "shoal: %s\n", error.what());
    return error.exit_code();
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "shoal: %s - cannot be used: %s\n", error.path1().c_str(),
                 error.code().message().c_str());
    return 2;
  } catch (...) {
    std::fprintf(stderr, "shoal: %s\n", shoal::describe_exception().c_str());
    return 1;
  }
}
