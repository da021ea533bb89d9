// shoal trace FILE.json: where the time of a traced run went, and a picture of one step. Starts no device.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "app/timeline.h"
#include "app/trace.h"
#include "base/text.h"
#include "cli/commands.h"
#include "shoal/error.h"

namespace shoal::cli {
namespace {

struct Options {
  std::string trace;
  std::optional<std::string> timeline;
};

int run(const Options& options) {
  const app::Trace trace = app::read_trace(options.trace);
  if (trace.steps.empty())
    throw InputError(
        cat(options.trace,
            " - steps: got none, want at least one; the run ended before the first that is traced"));
  std::fputs(app::trace_text(trace).c_str(), stdout);
  if (options.timeline) {
    app::write_timeline(*options.timeline, app::draw_trace(trace));
    std::printf("drawn in %s\n", options.timeline->c_str());
  }
  return 0;
}

}  // namespace

void add_trace(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const trace =
      app.add_subcommand("trace", "Tell where the time of a traced run went, and draw one of its steps");
  trace->add_option("FILE", options->trace, "what shoal train --trace wrote")->required();
  trace->add_option("--timeline", options->timeline, "draw the step of median length (SVG)")
      ->type_name("FILE");
  trace->callback([options, &invocation] { invocation.chosen = [options] { return run(*options); }; });
}

}  // namespace shoal::cli
