// One function per command: declares its flags on `app` and, when the user chose it, leaves what to run in
// `chosen`.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace shoal::cli {

/// Whether it is a terminal that can write a line over.
bool is_terminal(int descriptor);

struct Invocation {
  int argc;
  char** argv;
  std::function<int()> chosen;  // returns the exit code; may throw shoal::Error
};

void add_train(CLI::App& app, Invocation&);
void add_plan(CLI::App& app, Invocation&);
void add_trace(CLI::App& app, Invocation&);
void add_predict(CLI::App& app, Invocation&);
void add_generate(CLI::App& app, Invocation&);
void add_score(CLI::App& app, Invocation&);
void add_data(CLI::App& app, Invocation&);
void add_checkpoint(CLI::App& app, Invocation&);
void add_convert(CLI::App& app, Invocation&);
void add_serve(CLI::App& app, Invocation&);
void add_run(CLI::App& app, Invocation&);

}  // namespace shoal::cli
