// The processes of one replica of the model: started, told of steps, watched, ended.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/shm/memory.h"
#include "infer/device.h"
#include "infer/step.h"

namespace shoal::infer {

/// Where the program for devices lies: beside the running program, or in the folder above (as tests are
/// built). Throws JobError where it is in neither.
std::string device_program();

/// Belongs to one thread at a time. The destructor ends the devices.
class Replica {
 public:
  /// `place.rank` is filled in for each.
  explicit Replica(const DevicePlace& place);
  ~Replica();

  /// Starts the devices, after having ended those that were. Throws JobError where processes cannot be had.
  void start();
  /// Ends them at once. What was under way is lost.
  void stop();

  /// Sockets to poll for input, one for each device; -1 of those that are not there.
  const std::vector<int>& sockets() const { return sockets_; }

  bool is_ready() const { return ready_ == place_.tp * place_.pp; }
  /// Hands the step to the devices; it comes back from `receive`. REQUIRES: is_ready(), the slot is free.
  void submit(int64_t slot, const StepData&);

  struct Event {
    enum Kind { kReady, kDone, kFailed } kind;
    int64_t slot = 0;
    std::string sentence;   // of kFailed
    bool is_input = false;  // of kFailed: what was given cannot be used
  };
  /// What has happened, if something has: all devices are ready, a step is done by all that give results, or
  /// a device is gone. Never waits.
  std::optional<Event> receive();

  const float* logits(int64_t slot) const { return steps_.logits(slot); }
  const float* states(int64_t slot) const { return steps_.states(slot); }
  std::vector<pid_t> processes() const { return processes_; }

 private:
  void start_rank(int64_t rank, const std::string& program);
  std::optional<Event> from(size_t rank);
  std::string ending(size_t rank);

  DevicePlace place_;
  StepMemory steps_;
  std::shared_ptr<comm::SharedMemory> memory_;
  std::vector<int> sockets_;
  std::vector<pid_t> processes_;
  int64_t ready_ = 0;
  std::vector<int64_t> done_;  // by slot: devices of the last stage that are done
};

}  // namespace shoal::infer
