// A device: a process that runs its Program whenever the engine says so. What it inherits: a socket to the
// engine, the job's memory (comm/shm) that it shares with the other devices of its replica, and the memory of
// steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "infer/step.h"

namespace shoal::infer {

/// What the engine tells a device as it starts it.
struct DevicePlace {
  std::string model;
  int64_t tp = 1, pp = 1, rank = 0;  // within the replica
  int64_t pages = 0, positions = 0, slots = 1;
  StepLimits limits;

  std::vector<std::string> arguments() const;
  /// Throws InputError where they are not what arguments() gives.
  static DevicePlace parse(const std::vector<std::string>&);
};

inline constexpr int kSocket = 3, kJobMemory = 4, kStepMemory = 5;  // descriptors of a device

/// Packets on the socket, each whole.
struct Order {
  uint32_t slot;
};
struct Report {
  enum Kind : uint32_t { kReady, kDone, kInputError, kJobError } kind;
  uint32_t slot;
  char sentence[1024];  // of errors; ends with 0
};

/// The life of a device, up to the end of the socket. Errors are reported over the socket; returns the exit
/// code.
int run_device(const std::vector<std::string>& arguments);

}  // namespace shoal::infer
