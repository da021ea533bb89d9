// W1 on Shoal, as a worker of `make bench`: stays resident and speaks the protocol of bench/peers/protocol.py
// for all its ranks. Rank 0 reads the commands and passes them on; the others wait, asleep, for the next.
//   shoal run -n 2 build/bench/w1_worker --precision fp32 --batch 16 --microbatches 2
//   shoal run -n 2 build/bench/w1_worker --precision fp32 --layout tp=2 --chunks 2
#include <shoal/shoal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <torch/torch.h>
#include <torch/version.h>

#include "comm/collectives.h"
#include "models/gpt.h"

namespace {
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int64_t kVocabulary = 4096, kContext = 256, kGlobalBatch = 16;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The first `batch` sequences of a step's tokens, and what follows each token: a noisy affine walk over the
/// vocabulary, which a model can learn. The same numbers as in bench/peers/w1_torch.py.
shoal::Batch tokens_of(int64_t step, int64_t batch) {
  auto generator = at::detail::createCPUGenerator(1234 + step);
  auto tokens = torch::empty({kGlobalBatch, kContext + 1}, torch::kInt64);
  tokens.select(1, 0).copy_(torch::randint(0, kVocabulary, {kGlobalBatch}, generator, torch::kInt64));
  const auto noise = torch::randint(0, 8, {kGlobalBatch, kContext}, generator, torch::kInt64);
  for (int64_t i = 0; i < kContext; ++i)
    tokens.select(1, i + 1).copy_((tokens.select(1, i) * 5 + 17 + noise.select(1, i)) % kVocabulary);
  const auto mine = tokens.narrow(0, 0, batch);
  return {mine.narrow(1, 0, kContext).contiguous(), mine.narrow(1, 1, kContext).contiguous()};
}

/// What a rank knows of one step. Plain numbers, so that it can be gathered as bytes.
struct StepCost {
  double seconds, user_seconds, system_seconds;
};

struct CpuSeconds {
  double user, system;

  static CpuSeconds now() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) { return time.tv_sec + 1e-6 * time.tv_usec; };
    return {seconds(usage.ru_utime), seconds(usage.ru_stime)};
  }
};

/// The most memory of this process that was resident since the last reset_peak(), shared pages included.
int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      int64_t kibibytes = 0;
      status >> kibibytes;
      return kibibytes * 1024;
    }
  return 0;
}

bool reset_peak() { return static_cast<bool>(std::ofstream("/proc/self/clear_refs") << "5" << std::flush); }

/// What the command line says of the run.
struct Settings {
  std::string precision = "fp32";
  std::string layout;  // "": every device takes its share of the microbatches
  std::vector<std::string> stages;  // none: cut where the stages cost alike
  int64_t batch = kGlobalBatch, microbatches = 2, chunks = 1;
};

/// A command as it travels between ranks.
struct Command {
  char name[16] = "";
  int64_t count = 0;
};

Command read_command() {
  Command command;
  std::string line, name;
  std::getline(std::cin, line);
  std::istringstream(line) >> name >> command.count;
  if (!std::cin) name = "quit";  // the driver is gone
  name.copy(command.name, sizeof(command.name) - 1);
  return command;
}

class Worker {
 public:
  Worker(shoal::World& world, const Settings& settings)
      : comm_(world.communicator()), batch_(settings.batch), trainer_(make_trainer(world, settings)) {}

  /// Answers commands until quit. `answers` is used on rank 0 alone.
  void serve(std::FILE* answers) {
    const auto say = [&](const json& answer) {
      if (comm_.rank() != 0) return;
      std::fprintf(answers, "%s\n", answer.dump().c_str());
      std::fflush(answers);
    };
    say({{"ready", true},
         {"about", {{"torch", TORCH_VERSION}, {"ranks", comm_.size()}, {"profiles", true}}}});
    for (;;) {
      Command command;
      if (comm_.rank() == 0) command = read_command();
      shoal::comm::broadcast(comm_, 0, std::as_writable_bytes(std::span(&command, 1)));
      const std::string name = command.name;
      if (name == "step")
        say(steps(command.count));
      else if (name == "reset")
        say({{"reset", reset_peak()}});
      else if (name == "rss")
        say({{"peak_bytes", gather(peak_bytes())}});
      else if (name == "profile")
        say({{"where", profile()}});
      else if (name == "quit")
        return;
      else
        throw shoal::InputError("worker - command: got '" + name +
                                "', want step, reset, rss, profile or quit");
    }
  }

 private:
  static shoal::Trainer make_trainer(shoal::World& world, const Settings& settings) {
    const shoal::models::GptConfig config{.vocabulary = kVocabulary,
                                          .layers = 8,
                                          .width = 512,
                                          .heads = 8,
                                          .context = kContext,
                                          .dropout = 0.0};
    auto model = shoal::describe([config] { return shoal::models::Gpt(config); });
    const auto loss = [](shoal::models::Gpt& gpt, const shoal::Batch& batch) {
      return torch::nn::functional::cross_entropy(gpt(batch[0]).to(torch::kFloat32).flatten(0, 1),
                                                  batch[1].flatten());
    };
    std::optional<shoal::Layout> layout;
    if (!settings.layout.empty())
      layout = shoal::parse_layout(settings.layout, "--layout " + settings.layout + " - layout");
    return shoal::Trainer(
        world, model, loss,
        {.optimizer = shoal::AdamW{.lr = 3e-4, .betas = {0.9, 0.95}, .weight_decay = 0.1, .decay_all = true},
         .microbatches = settings.microbatches,
         .precision = settings.precision == "bf16" ? shoal::Precision::kBF16 : shoal::Precision::kFP32,
         .tensor_chunks = settings.chunks,
         .layout = layout,
         .stages = settings.stages});
  }

  /// Every rank's value, by rank.
  template <class T>
  std::vector<T> gather(const T& mine) {
    std::vector<T> values;
    for (const auto& bytes : shoal::comm::all_gather(comm_, std::as_bytes(std::span(&mine, 1))))
      std::memcpy(&values.emplace_back(), bytes.data(), sizeof(T));
    return values;
  }

  /// `count` steps: the slowest rank's seconds, and the CPU seconds of all ranks from the end of the step
  /// before.
  json steps(int64_t count) {
    json answer = {{"seconds", json::array()},
                   {"loss", json::array()},
                   {"user", json::array()},
                   {"system", json::array()}};
    auto cpu = CpuSeconds::now();
    for (int64_t i = 0; i < count; ++i) {
      const auto batch = tokens_of(step_++, batch_);
      comm_.barrier();
      const auto start = Clock::now();
      const double loss = trainer_.step(batch).loss;
      const double seconds = seconds_since(start);
      const auto cpu_now = CpuSeconds::now();
      StepCost all{};
      for (const auto& cost :
           gather(StepCost{seconds, cpu_now.user - cpu.user, cpu_now.system - cpu.system})) {
        all.seconds = std::max(all.seconds, cost.seconds);
        all.user_seconds += cost.user_seconds;
        all.system_seconds += cost.system_seconds;
      }
      cpu = cpu_now;
      answer["seconds"].push_back(all.seconds);
      answer["loss"].push_back(loss);
      answer["user"].push_back(all.user_seconds);
      answer["system"].push_back(all.system_seconds);
    }
    return answer;
  }

  /// One untimed step on all ranks: the share of each operator and of each part of the step in this rank's
  /// time; operators below 2 % as one.
  json profile() {
    const auto batch = tokens_of(step_++, batch_);
    comm_.barrier();
    trainer_.profile(true);
    const shoal::StepResult::Seconds seconds = trainer_.step(batch).seconds;
    trainer_.profile(false);
    json where = {{"reduce", seconds.reduce / seconds.total},
                  {"update", seconds.update / seconds.total},
                  {"gather", seconds.gather / seconds.total},
                  {"wait", seconds.wait / seconds.total}};
    double small = 0;
    for (const auto& [name, spent] : trainer_.seconds_by_operator()) {
      if (spent < 0.02 * seconds.total)
        small += spent;
      else
        where[name] = spent / seconds.total;
    }
    where["other operators"] = small / seconds.total;
    return where;
  }

  shoal::comm::Group comm_;
  int64_t batch_;
  shoal::Trainer trainer_;
  int64_t step_ = 0;
};
}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("W1 on Shoal, as a worker of `make bench`");
  app.add_option("--precision", settings.precision)->check(CLI::IsMember({"fp32", "bf16"}))->required();
  app.add_option("--batch", settings.batch)->check(CLI::Range(int64_t{1}, kGlobalBatch));
  app.add_option("--microbatches", settings.microbatches)->check(CLI::PositiveNumber);
  app.add_option("--layout", settings.layout, "such as dp=2,zero=3");
  app.add_option("--stages", settings.stages, "the parameters at which stages begin")->delimiter(',');
  app.add_option("--chunks", settings.chunks, "tensor_chunks of the run")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  return shoal::guarded_main(argc, argv, [&](shoal::World& world) {
    at::set_num_threads(1);
    // Rank 0's answers alone go to stdout; whatever a library prints goes to stderr.
    std::FILE* answers = fdopen(dup(STDOUT_FILENO), "w");
    dup2(STDERR_FILENO, STDOUT_FILENO);
    Worker(world, settings).serve(answers);
  });
}
