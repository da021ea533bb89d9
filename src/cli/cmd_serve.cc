// shoal serve MODEL: answers over HTTP, by the OpenAI API, until it is told to end.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "base/fault.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/engine_flags.h"
#include "cli/usage.h"
#include "serve/server.h"
#include "serve/task_queue.h"
#include "shoal/error.h"

namespace shoal::cli {
namespace {

struct Options {
  EngineFlags engine;
  serve::ServerOptions server;
  std::string name, key_file, log;
  int64_t context = 0, cache_tokens = 0, body_kib = 4096;
};

// Signals as bytes of a pipe, so that they are handled like any other message.
int signal_pipe[2] = {-1, -1};

void on_signal(int number) {
  const int saved = errno;
  const char byte = static_cast<char>(number);
  [[maybe_unused]] const ssize_t written = write(signal_pipe[1], &byte, 1);
  errno = saved;
}

void catch_signals() {
  if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
    throw JobError(cat("signals - cannot be caught: ", std::generic_category().message(errno)));
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaction(number, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);  // of a log whose reader has gone
}

/// The next signal, or 0 when `milliseconds` have passed; -1: for ever.
int next_signal(int milliseconds) {
  pollfd waiting{signal_pipe[0], POLLIN, 0};
  char number = 0;
  if (poll(&waiting, 1, milliseconds) != 1 || read(signal_pipe[0], &number, 1) != 1) return 0;
  return number;
}

/// Lines of the access log, written by a thread of their own: who reads them slowly holds up no answer.
class Log {
 public:
  explicit Log(const std::string& path) : path_(path), file_(path.empty() ? stdout : std::fopen(path.c_str(), "ae")) {
    if (!file_)
      throw InputError(cat("--log ", path, " - cannot be written: ", std::generic_category().message(errno)));
  }
  ~Log() {
    const auto written = std::make_shared<std::promise<void>>();
    const bool added = queue_.add([written] { written->set_value(); });
    // A reader that hangs must not keep the process: its lines are lost.
    if (!added || written->get_future().wait_for(std::chrono::seconds(2)) != std::future_status::ready) std::_Exit(0);
    queue_.stop();
    if (!path_.empty()) std::fclose(file_);
  }
  void add(const std::string& line) {
    queue_.add([this, line] {
      std::fputs((line + "\n").c_str(), file_);
      std::fflush(file_);
    });
  }

 private:
  const std::string path_;
  std::FILE* const file_;
  serve::TaskQueue queue_{1, 10'000};
};

std::vector<std::string> keys(const Options& options) {
  std::vector<std::string> keys;
  if (!options.key_file.empty()) keys = serve::read_keys(options.key_file);
  if (const char* const key = std::getenv("SHOAL_API_KEY"); key && *key) keys.emplace_back(key);
  return keys;
}

void tell(const std::string& line) { std::fprintf(stderr, "shoal: %s\n", line.c_str()); }

void tell_of_reload(const std::string& sentence) {
  tell(sentence.empty() ? "reloaded; answers under way end with the model that they began with" : sentence);
}

int run(Options options) {
  infer::EngineOptions engine = engine_options(options.engine);
  engine.context = options.context;
  engine.cache_tokens = options.cache_tokens;
  options.server.api.keys = keys(options);
  options.server.http.body_bytes = static_cast<size_t>(options.body_kib) << 10;
  Log log(options.log);
  catch_signals();
  const auto load = [&] { return serve::load_model(options.engine.model, options.name, engine); };
  serve::Server server(options.server, load, [&](const std::string& line) { log.add(line); });
  // The model may take its time: a signal meanwhile ends it all.
  auto started = std::async(std::launch::async, [&] { server.start(); });
  while (started.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
    if (const int number = next_signal(20); number == SIGTERM || number == SIGINT) _exit(0);
  started.get();
  const std::string& address = options.server.address;
  const bool v6 = address.find(':') != std::string::npos;
  tell(cat("serving ", server.facts().name, ": ", server.facts().description));
  tell(cat("listening at http://", v6 ? "[" : "", address, v6 ? "]" : "", ":", server.port(),
           options.server.api.keys.empty() ? "; no API key: whoever reaches it may use it"
                                           : cat("; API keys: ", options.server.api.keys.size())));
  for (;;) {
    const int number = next_signal(-1);
    if (number == SIGHUP) server.reload(tell_of_reload);
    if (number == SIGTERM || number == SIGINT) break;
  }
  tell(cat("ending: waits at most ", options.server.drain_seconds, " s for answers under way"));
  auto drained = std::async(std::launch::async, [&] { return server.drain(); });
  while (drained.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
    if (const int number = next_signal(20); number == SIGTERM || number == SIGINT) server.hurry();
  tell(drained.get() ? "ended: all is answered" : "ended: what was under way was given up, and its clients told");
  return 0;
}

void check(const CLI::Option* option, double value, double least, double most) {
  if (!(value >= least && value <= most))
    throw InputError(cat(option->get_name(), " - got ", value, ", want ", least, " to ", static_cast<int64_t>(most)));
}

}  // namespace

void add_serve(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<Options>();
  CLI::App* const serve = app.add_subcommand("serve", "Answer over HTTP by the OpenAI API, with a page to chat");
  add_engine_flags(*serve, "MODEL", options->engine);
  serve->add_option("--name", options->name, "what clients call the model; the file's name unless told");
  serve->add_option("--address", options->server.address, "where to listen; 127.0.0.1 unless told")->type_name("IP");
  auto* const port = number<int>(serve->add_option("--port", options->server.port, "8080 unless told; 0: a free one"));
  auto* const context =
      number<int64_t>(serve->add_option("--context", options->context, "tokens of prompt and answer together"));
  auto* const cache = number<int64_t>(
      serve->add_option("--cache-tokens", options->cache_tokens, "places for keys and values; 8 contexts unless told"));
  serve->add_option("--api-key-file", options->key_file, "keys that clients need, one a line; also SHOAL_API_KEY")
      ->type_name("FILE");
  auto* const rate = number<int64_t>(
      serve->add_option("--rate", options->server.api.requests_per_minute, "requests a minute of a key, or an address"));
  auto* const queue =
      number<int64_t>(serve->add_option("--queue", options->server.api.queue, "answers that may wait; 256 unless told"));
  auto* const connections = number<int>(
      serve->add_option("--connections", options->server.http.connections, "that may be open; 512 unless told"));
  auto* const body =
      number<int64_t>(serve->add_option("--body-kib", options->body_kib, "KiB of a request; 4096 unless told"));
  auto* const drain = number<double>(serve->add_option(
      "--drain-seconds", options->server.drain_seconds, "for answers under way at the end; 30 unless told"));
  for (CLI::Option* const option : {port, context, cache, rate, queue, connections, body}) option->type_name("N");
  drain->type_name("S");
  serve->add_option("--log", options->log, "a file for the access log, one line of JSON a request; else stdout")
      ->type_name("FILE");
  serve->callback([=, &invocation] {
    invocation.chosen = [=] {
      check(port, options->server.port, 0, 65535);
      check(context, static_cast<double>(options->context), 0, 1 << 30);
      check(cache, static_cast<double>(options->cache_tokens), 0, 1LL << 40);
      check(rate, static_cast<double>(options->server.api.requests_per_minute), 0, 1 << 30);
      check(queue, static_cast<double>(options->server.api.queue), 1, 1 << 20);
      check(connections, options->server.http.connections, 1, 20'000);
      check(body, static_cast<double>(options->body_kib), 1, 1 << 20);
      check(drain, options->server.drain_seconds, 0, 86'400);
      return run(*options);
    };
  });
}

}  // namespace shoal::cli
