// The engine inside: one thread that takes requests in, gives replicas their steps, and makes tokens of what
// comes back. engine.cc: what any thread may call; engine_loop.cc: the thread's rounds; engine_results.cc:
// from logits to answers.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "infer/engine.h"
#include "infer/fair_queue.h"
#include "infer/replica.h"
#include "infer/sampler.h"
#include "infer/scheduler.h"

namespace shoal::infer {

/// Restarts of devices in a row, without progress, that a request lives through.
inline constexpr int kMostRestarts = 3;

/// A replica with what it is doing.
struct Lane {
  Lane(const DevicePlace& place, const ScheduleOptions& schedule) : replica(place), scheduler(schedule) {}
  Replica replica;
  Scheduler scheduler;
  struct UnderWay {
    int64_t slot;
    Step step;
  };
  std::deque<UnderWay> under_way;  // the oldest first
  int failures = 0;                // in a row, without a step done
  bool is_down = false;            // it has failed too often; started again when somebody asks
};

struct Engine::Impl {
  Impl(const std::string& model_path, const EngineOptions&);
  ~Impl();

  // Any thread.
  uint64_t submit(std::unique_ptr<Sequence>);
  void check(const Request&) const;
  void wake() const;

  // The constructor.
  void choose_sizes();
  void start_lanes();

  // The engine's thread.
  void run();
  bool take_inbox();
  void give_steps();
  void wait();
  void receive(Lane&);
  void step_done(Lane&, int64_t slot);
  void lane_failed(Lane&, const std::string& sentence);
  void revive();
  void finish(Sequence&, Finish, const std::string& sentence = "");
  void finish_all(Finish, const std::string& sentence);
  void take_states(Sequence&, const StepPart&, const float* states);
  void take_logits(Sequence&, const StepPart&, const float* logits);
  bool next_token(Sequence&, std::span<const float> logits);
  void publish();

  const EngineOptions options;
  const std::shared_ptr<const formats::ModelFile> file;
  const formats::ModelConfig& config;
  int64_t context = 0, pages = 0;
  StepLimits limits;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::unique_ptr<Sampler> sampler;
  std::set<Token> ends;  // of the tokenizer
  std::map<uint64_t, std::unique_ptr<Sequence>> sequences;
  FairQueue queue;
  EngineState counters;

  mutable std::mutex mutex;  // guards what follows
  std::vector<std::unique_ptr<Sequence>> incoming;
  std::vector<uint64_t> cancelled;
  uint64_t last_id = 0;
  bool is_ending = false;
  EngineState published;

  int doorbell = -1;  // an eventfd: the inbox has something
  std::thread thread;
};

}  // namespace shoal::infer
