// The devices of a job, seen from one of them.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace shoal {

namespace comm {
class Agreement;
class Communicator;
}  // namespace comm
namespace kernels {
class Device;
}
namespace run {
class LiveTensors;
}

/// One device's view of the job. Started by `shoal run -n N program` (or by a `shoal` command with --devices
/// N), a program is one of N processes that share memory through inherited descriptors; started alone, it is
/// a world of one. Threads: belongs to the thread that made it. Errors: a dead or failed rank ends every wait
/// of the others with JobError within a second.
class World {
 public:
  /// Reads from the environment how the process was launched; argc and argv as main() has them, for launchers
  /// that pass their word there. Throws JobError when the launcher is gone.
  World(int argc, char** argv);
  explicit World(std::unique_ptr<comm::Communicator>);
  /// On another kind of device than the CPU, which must outlive the World.
  World(std::unique_ptr<comm::Communicator>, kernels::Device&);
  ~World();
  World(World&&) noexcept;
  World& operator=(World&&) noexcept;

  int rank() const;
  int size() const;
  comm::Communicator& communicator();
  /// What computes here: the CPU, unless the World was made with another.
  kernels::Device& device() const;
  /// Where the devices make sure that they are all in the same call.
  comm::Agreement& agreement();
  /// What its Trainers train, for each other's models.
  run::LiveTensors& live_tensors();

  /// Runs `body` on `size` ranks, each a thread of this process with one compute thread. Rethrows the first
  /// error.
  static void threads(int size, const std::function<void(World&)>& body);

 private:
  std::unique_ptr<comm::Communicator> communicator_;
  kernels::Device* device_;  // not owned
  std::unique_ptr<comm::Agreement> agreement_;
  std::unique_ptr<run::LiveTensors> live_tensors_;
};

/// Runs a main function: prints what it throws as one line, tells the other ranks, and returns the exit code
/// (0, 1 or 2). An Error is its own sentence; any other exception is told with the rank and what it was
/// doing.
///   int main(int argc, char** argv) { return shoal::guarded_main(argc, argv, [](shoal::World& world) { ...
///   }); }
int guarded_main(int argc, char** argv, const std::function<void(World&)>& body);

/// True once the user asked the job to end (Ctrl-C, SIGTERM). Trainer::step turns it into a clean end at a
/// step's boundary on all ranks.
bool stop_requested();

}  // namespace shoal
