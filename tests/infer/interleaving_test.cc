// Whatever else an engine does, and however it is divided, a request's tokens and log-probabilities are those
// of the request alone, to the bit: requests join at random, share beginnings, evict each other, are
// cancelled, and devices are killed.
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "infer/support.h"

namespace shoal::infer {
namespace {

using formats::Architecture;
using formats::WeightType;

struct Case {
  Request request;
  std::string bits;  // alone, on one device
};

// Requests of every kind; several begin alike.
std::vector<Case> cases_of(const std::string& path, uint32_t seed) {
  std::mt19937 random(seed);
  const auto between = [&](int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random() % static_cast<uint64_t>(most - least + 1));
  };
  const std::vector<Token> beginning = random_tokens(random, 40);
  std::vector<Case> cases;
  for (int i = 0; i < 24; ++i) {
    Request request;
    const int64_t shared = between(0, 1) ? between(0, 40) : 0;
    request.prompt = {beginning.begin(), beginning.begin() + shared};
    for (const Token token : random_tokens(random, between(1, 20))) request.prompt.push_back(token);
    request.max_tokens = between(1, 24);
    request.alternatives = static_cast<int>(between(0, 3));
    request.prompt_logprobs = between(0, 2) == 0;
    Sampling& sampling = request.sampling;
    sampling.temperature = between(0, 2) * 0.8;
    sampling.seed = random(), sampling.answer = random() % 3;
    if (between(0, 2) == 0) sampling.top_k = between(1, 20);
    if (between(0, 2) == 0) sampling.top_p = 0.1 * static_cast<double>(between(1, 9));
    if (between(0, 3) == 0) sampling.min_p = 0.05;
    if (between(0, 2) == 0)
      sampling.repetition_penalty = 1.2, sampling.presence_penalty = 0.3, sampling.frequency_penalty = 0.1;
    if (between(0, 3) == 0) sampling.logit_bias = {{3, 1.5}, {4, -2}};
    if (between(0, 3) == 0) request.stop_tokens = {static_cast<Token>(between(0, 39))};
    request.client = std::string(1, static_cast<char>('a' + between(0, 2)));
    cases.push_back({request, ""});
  }
  EngineOptions alone;
  alone.prefix_cache = false;
  Engine engine(path, alone);
  for (Case& one : cases) one.bits = bits(answer_of(ask(engine, one.request)));
  return cases;
}

EngineOptions random_options(std::mt19937& random) {
  const auto one_of = [&](std::initializer_list<int64_t> values) {
    return values.begin()[random() % values.size()];
  };
  EngineOptions options;
  options.tp = one_of({1, 1, 2, 4}), options.pp = one_of({1, 1, 2}), options.dp = one_of({1, 1, 1, 2});
  options.batch_requests = one_of({1, 2, 5, 16, 32});
  options.batch_tokens = one_of({1, 3, 8, 17, 64, 512});
  options.cache_tokens = one_of({96, 112, 160, 400, 2000});  // 96: one request at a time has room
  options.prefix_cache = one_of({0, 1, 1}) != 0;
  return options;
}

// Asks cases in a random order and at random moments, cancels some; all that are not cancelled are right.
// Returns how many requests were answered whole.
int interleave(Engine& engine, const std::vector<Case>& cases, std::mt19937& random, size_t most) {
  std::vector<std::pair<size_t, Asked>> asked;
  const size_t requests = 2 + random() % most;
  for (size_t i = 0; i < requests; ++i) {
    const size_t which = random() % cases.size();
    asked.emplace_back(which, ask(engine, cases[which].request));
    if (random() % 8 == 0) engine.cancel(asked[random() % asked.size()].second.id);
    if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
  }
  int whole = 0;
  for (auto& [which, one] : asked) {
    const Answer answer = answer_of(std::move(one));
    const Case& wanted = cases[which];
    if (answer.finish == Finish::kCancelled) {
      EXPECT_TRUE(
          bits(wanted.request.prompt_logprobs && answer.tokens.empty() ? answer.prompt : answer.tokens)
              .empty() ||
          wanted.bits.find(bits(answer.tokens)) != std::string::npos);
      continue;
    }
    EXPECT_EQ(bits(answer), wanted.bits) << "case " << which << " " << answer.sentence;
    ++whole;
  }
  return whole;
}

struct Model {
  Architecture architecture;
  WeightType type;
};
const std::vector<Model> kModels = {
    {Architecture::kLlama, WeightType::kQ4_1}, {Architecture::kGpt2, WeightType::kF32},
    {Architecture::kLlama, WeightType::kBF16}, {Architecture::kLlama, WeightType::kF32},
    {Architecture::kGpt2, WeightType::kQ4_1},  {Architecture::kGpt2, WeightType::kBF16}};

TEST(Interleavings, NothingChangesAnAnswer) {
  const bool all = std::getenv("SHOAL_ALL_CELLS") != nullptr;
  const auto most = [&](std::mt19937& random) { return all && random() % 8 == 0 ? 32u : 5u; };  // requests at once
  const int each = all ? 10000 / static_cast<int>(kModels.size()) + 1 : 50, of_an_engine = all ? 40 : 10;
  int interleavings = 0, answers = 0;
  EngineState sums;
  for (size_t model = 0; model < kModels.size(); ++model) {
    const TinyFile file(kModels[model].architecture, kModels[model].type, 2);
    const std::vector<Case> cases = cases_of(file.path(), static_cast<uint32_t>(model));
    std::mt19937 random(static_cast<uint32_t>(100 + model));
    for (int i = 0; i < each; i += of_an_engine) {
      const EngineOptions options = random_options(random);
      SCOPED_TRACE(testing::Message()
                   << "model " << model << " engine " << i / of_an_engine << " tp=" << options.tp
                   << " pp=" << options.pp << " dp=" << options.dp << " batch " << options.batch_requests
                   << "/" << options.batch_tokens << " cache " << options.cache_tokens);
      Engine engine(file.path(), options);
      for (int run = 0; run < of_an_engine; ++run, ++interleavings)
        answers += interleave(engine, cases, random, most(random));
      const EngineState state = engine.state();
      sums.preempted += state.preempted, sums.prompt_tokens_shared += state.prompt_tokens_shared,
          sums.cancelled += state.cancelled;
      if (testing::Test::HasFailure()) return;
    }
  }
  // It was put to the test.
  EXPECT_GT(answers, interleavings * 2);
  EXPECT_GT(sums.preempted, interleavings / 50);
  EXPECT_GT(sums.prompt_tokens_shared, interleavings);
  EXPECT_GT(sums.cancelled, interleavings / 10);
  RecordProperty("interleavings", interleavings);
  RecordProperty("answers", answers);
  RecordProperty("preempted", static_cast<int>(sums.preempted));
}

std::vector<pid_t> devices_of_this_process() {
  std::vector<pid_t> found;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream children(task.path() / "children");
    for (pid_t child; children >> child;) found.push_back(child);
  }
  return found;
}

TEST(Interleavings, DevicesThatAreKilledChangeNothing) {
  const TinyFile file(Architecture::kLlama, WeightType::kQ4_1);
  const std::vector<Case> cases = cases_of(file.path(), 5);
  std::mt19937 random(9);
  const size_t most = 12;
  const int rounds = std::getenv("SHOAL_ALL_CELLS") ? 200 : 12;
  const int64_t most_kills = rounds;
  int64_t restarts = 0;
  for (const auto& [tp, pp, dp] : {std::tuple{1, 1, 1}, {2, 1, 1}, {2, 2, 1}, {1, 1, 2}}) {
    EngineOptions options;
    options.tp = tp, options.pp = pp, options.dp = dp, options.batch_tokens = 16;
    Engine engine(file.path(), options);
    std::atomic<bool> stop = false;
    std::thread killer([&, dp = dp, seed = random()] {
      std::mt19937 when(seed);
      for (int64_t kills = 0, steps = 0; !stop && kills < most_kills;) {
        std::this_thread::sleep_for(std::chrono::microseconds(when() % 20000));
        // Something goes on in between: more failures in a row would be too many. Steps are those of all replicas,
        // so with several each is killed in its turn, and much goes on.
        const EngineState state = engine.state();
        const int64_t least = dp > 1 ? 12 : kills % 2 == 1 ? 3 : 0;
        if (state.steps < steps + least) continue;
        ++kills, steps = state.steps;
        const std::vector<pid_t> devices = devices_of_this_process();
        if (!devices.empty()) kill(devices[(dp > 1 ? static_cast<size_t>(kills) : when()) % devices.size()], SIGKILL);
      }
    });
    for (int i = 0; i < rounds; ++i) {
      interleave(engine, cases, random, most);
      if (testing::Test::HasFailure()) break;
    }
    stop = true;
    killer.join();
    interleave(engine, cases, random, most);
    restarts += engine.state().restarts;
  }
  EXPECT_GT(restarts, 8);
}

TEST(Interleavings, AnIdleEngineNoticesADeathAtOnce) {
  const TinyFile file(Architecture::kLlama, WeightType::kF32);
  EngineOptions options;
  options.tp = 2;
  Engine engine(file.path(), options);
  const std::string before = bits(answer_of(ask(engine, greedy_request({1, 2}, 5))));
  for (int64_t death = 1; death <= 6; ++death) {  // more than in a row would be borne while it works
    kill(devices_of_this_process().at(static_cast<size_t>(death % 2)), SIGKILL);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while ((engine.state().restarts < death || !engine.state().ready) &&
           std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(engine.state().restarts, death);
  }
  EXPECT_EQ(bits(answer_of(ask(engine, greedy_request({1, 2}, 5)))), before);
}

TEST(Interleavings, DevicesThatCannotStartAgainFailTheirRequests) {
  auto file = std::make_unique<TinyFile>(Architecture::kLlama, WeightType::kF32);
  const std::string path = file->path();
  EngineOptions options;
  options.batch_tokens = 4;
  Engine engine(path, options);
  file.reset();  // the devices have it mapped; those to come find nothing
  kill(devices_of_this_process().at(0), SIGKILL);
  const Answer answer = answer_of(ask(engine, greedy_request({1, 2}, 90)));
  EXPECT_EQ(answer.finish, Finish::kFailed);
  EXPECT_NE(answer.sentence.find(path), std::string::npos) << answer.sentence;
  EXPECT_FALSE(engine.state().ready);
  EXPECT_EQ(answer_of(ask(engine, greedy_request({1, 2}, 90))).finish, Finish::kFailed);  // and nothing hangs
}

}  // namespace
}  // namespace shoal::infer
