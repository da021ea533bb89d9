// The `shoal` command: picks the subcommand, turns errors into one sentence and an exit code.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"
#include "shoal/error.h"

int main(int argc, char** argv) {
  CLI::App app("Shoal: your LibTorch model, unchanged, on any set of devices; the layout never changes the answer.", "shoal");
  app.require_subcommand(1);
  shoal::cli::Invocation invocation{argc, argv, {}};
  shoal::cli::add_run(app, invocation);
  shoal::cli::add_data(app, invocation);
  shoal::cli::add_checkpoint(app, invocation);
  try {
    app.parse(argc, argv);
    return invocation.chosen();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const shoal::Error& error) {
    std::fprintf(stderr, "shoal: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "shoal: internal error: %s\n", error.what());
    return 1;
  }
}
