#include "infer/engine.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <future>

#include "base/text.h"
#include "comm/launch.h"
#include "infer/engine_impl.h"
#include "infer/interpreter.h"
#include "shoal/error.h"

namespace shoal::infer {
namespace {

constexpr int64_t kContexts = 8;  // that the cache has room for, where nothing is said

void check_options(const EngineOptions& options, const formats::ModelConfig& config,
                   const std::string& place) {
  const auto at_least_1 = [&](const char* name, int64_t value) {
    if (value < 1) throw InputError(cat("engine - ", name, ": got ", value, ", want at least 1"));
  };
  at_least_1("tp", options.tp), at_least_1("pp", options.pp), at_least_1("dp", options.dp);
  at_least_1("batch_tokens", options.batch_tokens), at_least_1("batch_requests", options.batch_requests);
  const auto most = static_cast<int64_t>(comm::kMaxDevices);
  if (options.tp > most || options.pp > most || options.dp > most || options.tp * options.pp > most)
    throw InputError(cat("engine - layout: got tp=", options.tp, ",pp=", options.pp, ",dp=", options.dp,
                         ", want at most ", most, " devices"));
  if (options.pp > config.layers)
    throw InputError(cat(place, " - layout: got pp=", options.pp, ", want at most the model's ",
                         config.layers, " layers"));
  if (options.threads != 1)
    throw InputError(cat("engine - threads: got ", options.threads,
                         ", want 1; more cores are more devices (tp), which give the same bits"));
  if (options.context < 0)
    throw InputError(cat("engine - context: got ", options.context, ", want at least 1"));
  if (options.cache_tokens < 0)
    throw InputError(
        cat("engine - cache_tokens: got ", options.cache_tokens, ", want at least ", kPageTokens));
}

int64_t half_of_memory() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) / 2 * static_cast<int64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

Engine::Impl::Impl(const std::string& model_path, const EngineOptions& wanted)
    : options(wanted), file(formats::open_model(model_path)), config(file->config()) {
  check_options(options, config, file->place());
  choose_sizes();
  const text::TokenizerSpec spec = file->tokenizer();
  std::vector<Token> never;
  for (size_t token = 0; token < spec.vocabulary.size(); ++token)
    if (spec.vocabulary[token].kind == text::TokenKind::kUnused) never.push_back(static_cast<Token>(token));
  const auto size =
      spec.vocabulary.empty() ? config.vocabulary : static_cast<int64_t>(spec.vocabulary.size());
  sampler = std::make_unique<Sampler>(config.vocabulary, size, std::move(never));
  ends.insert(spec.ends.begin(), spec.ends.end());

  const DevicePlace place{.model = model_path,
                          .tp = options.tp,
                          .pp = options.pp,
                          .pages = pages,
                          .positions = context,
                          .slots = options.pp,
                          .limits = limits};
  for (int64_t lane = 0; lane < options.dp; ++lane)
    lanes.push_back(
        std::make_unique<Lane>(place, ScheduleOptions{pages, limits, options.prefix_cache, options.pp}));
  start_lanes();
  counters.cache_places = pages * kPageTokens * options.dp;
  publish();
  doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (doorbell < 0) throw JobError("engine - eventfd: there are too many open files");
  thread = std::thread([this] { run(); });
}

Engine::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex);
    is_ending = true;
  }
  wake();
  if (thread.joinable()) thread.join();
  if (doorbell >= 0) close(doorbell);
}

void Engine::Impl::choose_sizes() {
  context = options.context > 0 ? options.context : config.context;
  if (config.architecture == formats::Architecture::kGpt2 || context == 0)
    context = std::min(context == 0 ? config.context : context, config.context);
  int64_t places = options.cache_tokens;
  if (places == 0) {
    const int64_t bytes = std::max<int64_t>(
        1, cache_bytes_per_token(*file, options.tp, options.pp) * options.tp * options.pp * options.dp);
    places = std::min((context + kPageTokens) * kContexts, half_of_memory() / bytes);
  }
  pages = places / kPageTokens;
  if (pages < 1)
    throw InputError(
        cat("engine - cache_tokens: got ", options.cache_tokens, ", want at least ", kPageTokens));
  context = std::min(context, pages * kPageTokens);
  limits.rows = std::max(options.batch_tokens, options.batch_requests);
  limits.sequences = options.batch_requests;
  limits.pages = options.batch_requests * ((context + kPageTokens - 1) / kPageTokens);
  limits.logits = std::min(limits.rows, std::max<int64_t>(options.batch_requests, 64));
  limits.vocabulary = config.vocabulary;
  limits.width = config.width;
}

void Engine::Impl::start_lanes() {
  for (const auto& lane : lanes) lane->replica.start();
  for (const auto& lane : lanes) {
    while (!lane->replica.is_ready()) {
      std::vector<pollfd> sockets;
      for (const int socket : lane->replica.sockets()) sockets.push_back({socket, POLLIN, 0});
      poll(sockets.data(), sockets.size(), -1);
      while (const auto event = lane->replica.receive()) {
        if (event->kind != Replica::Event::kFailed) continue;
        if (event->is_input) throw InputError(event->sentence);
        throw JobError(event->sentence);
      }
    }
  }
}

void Engine::Impl::wake() const {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t count = write(doorbell, &one, sizeof one);
}

uint64_t Engine::Impl::submit(std::unique_ptr<Sequence> sequence) {
  uint64_t id;
  {
    const std::lock_guard lock(mutex);
    id = sequence->id = ++last_id;
    incoming.push_back(std::move(sequence));
    ++published.queued;
  }
  wake();
  return id;
}

void Engine::Impl::check(const Request& request) const {
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length < 1) throw InputError("request - prompt: got no tokens, want at least 1");
  for (const Token token : request.prompt)
    if (token < 0 || token >= config.vocabulary)
      throw InputError(cat("request - prompt: got token ", token, ", want 0 to ", config.vocabulary - 1));
  if (request.max_tokens < 0)
    throw InputError(cat("request - max_tokens: got ", request.max_tokens, ", want at least 0"));
  if (length > context || request.max_tokens > context - length + 1)
    throw InputError(cat("request - length: got a prompt of ", length, " tokens and an answer of up to ",
                         request.max_tokens, ", want at most the context of ", context, " together"));
  const Sampling& how = request.sampling;
  const auto in_range = [](const char* name, double value, double least, double most) {
    if (!(value >= least && value <= most))
      throw InputError(cat("request - ", name, ": got ", value, ", want ", least, " to ", most));
  };
  in_range("temperature", how.temperature, 0, 1e6);
  in_range("top_p", how.top_p, 0, 1);
  in_range("min_p", how.min_p, 0, 1);
  in_range("repetition_penalty", how.repetition_penalty, 1e-6, 1e6);
  in_range("presence_penalty", how.presence_penalty, -1e6, 1e6);
  in_range("frequency_penalty", how.frequency_penalty, -1e6, 1e6);
  if (how.top_k < 0) throw InputError(cat("request - top_k: got ", how.top_k, ", want at least 0"));
  for (const auto& [token, bias] : how.logit_bias)
    if (token < 0 || token >= config.vocabulary || std::isnan(bias))
      throw InputError(cat("request - logit_bias: got ", bias, " for token ", token,
                           ", want a number for one of 0 to ", config.vocabulary - 1));
}

Engine::Engine(const std::string& model_path, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(model_path, options)) {}
Engine::~Engine() = default;

uint64_t Engine::submit(Request request, Callbacks callbacks) {
  impl_->check(request);
  auto sequence = std::make_unique<Sequence>();
  sequence->tokens = request.prompt;
  if (request.grammar) sequence->grammar.emplace(request.grammar);
  sequence->request = std::move(request);
  sequence->callbacks = std::move(callbacks);
  return impl_->submit(std::move(sequence));
}

void Engine::cancel(uint64_t id) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->cancelled.push_back(id);
  }
  impl_->wake();
}

std::vector<float> Engine::embed(const std::vector<Token>& tokens) {
  Request request{.prompt = tokens, .max_tokens = 0};
  impl_->check(request);
  auto sequence = std::make_unique<Sequence>();
  sequence->tokens = tokens;
  sequence->request = std::move(request);
  auto result = std::make_shared<std::promise<std::vector<float>>>();
  sequence->embedded = [result](std::vector<float> state) { result->set_value(std::move(state)); };
  sequence->callbacks.finished = [result](Finish finish, const std::string& sentence) {
    if (finish == Finish::kStop) return;
    result->set_exception(std::make_exception_ptr(JobError(
        finish == Finish::kFailed ? sentence : "engine - embedding: the engine has been ended before")));
  };
  std::future<std::vector<float>> future = result->get_future();
  impl_->submit(std::move(sequence));
  return future.get();
}

EngineState Engine::state() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->published;
}
const formats::ModelConfig& Engine::config() const { return impl_->config; }
int64_t Engine::context() const { return impl_->context; }

}  // namespace shoal::infer
