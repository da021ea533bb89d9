#include "shoal/world.h"

#include <ATen/Parallel.h>

#include <cstdio>
#include <new>

#include "base/fault.h"
#include "comm/agree.h"
#include "comm/comm.h"
#include "comm/launch.h"
#include "kernels/cpu/cpu_device.h"
#include "run/live_tensors.h"
#include "run/user_code.h"
#include "shoal/error.h"

namespace shoal {

World::World(int, char**) : World(comm::from_environment()) {
  comm::install_stop_handlers();
  comm::survive_full_files();
}
World::World(std::unique_ptr<comm::Communicator> communicator)
    : World(std::move(communicator), kernels::cpu()) {}
World::World(std::unique_ptr<comm::Communicator> communicator, kernels::Device& device)
    : communicator_(std::move(communicator)),
      device_(&device),
      agreement_(std::make_unique<comm::Agreement>(*communicator_)),
      live_tensors_(std::make_unique<run::LiveTensors>()) {}
World::~World() = default;
World::World(World&&) noexcept = default;
World& World::operator=(World&&) noexcept = default;

int World::rank() const { return communicator_->rank(); }
int World::size() const { return communicator_->size(); }
comm::Communicator& World::communicator() { return *communicator_; }
kernels::Device& World::device() const { return *device_; }
comm::Agreement& World::agreement() { return *agreement_; }
run::LiveTensors& World::live_tensors() { return *live_tensors_; }

namespace {
// A rank's communicator belongs to run_threads; the World that the body sees only borrows it.
class Borrowed : public comm::Communicator {
 public:
  explicit Borrowed(comm::Communicator& lender) : lender_(lender) {}
  int rank() const override { return lender_.rank(); }
  int size() const override { return lender_.size(); }
  std::unique_ptr<comm::Link> link(std::span<const int> ranks) override { return lender_.link(ranks); }
  void abort(std::string_view reason) noexcept override { lender_.abort(reason); }
  void set_activity(std::string_view activity) noexcept override { lender_.set_activity(activity); }
  std::string activity() const override { return lender_.activity(); }
  std::string waiting() const override { return lender_.waiting(); }

 private:
  comm::Communicator& lender_;
};
}  // namespace

void World::threads(int size, const std::function<void(World&)>& body) {
  comm::run_threads(size, [&](comm::Communicator& communicator) {
    at::set_num_threads(1);
    World world(std::make_unique<Borrowed>(communicator));
    body(world);
  });
}

bool stop_requested() { return comm::stop_requested(); }

int guarded_main(int argc, char** argv, const std::function<void(World&)>& body) {
  const auto report = [](const std::string& sentence, int exit_code) {
    if (!comm::report_failure(sentence, exit_code)) std::fprintf(stderr, "%s\n", sentence.c_str());
    return exit_code;
  };
  std::unique_ptr<World> world;
  const auto give_up = [&](const std::string& sentence, int exit_code) {
    if (world) world->communicator().abort(sentence);
    return report(sentence, exit_code);
  };
  const auto placed = [&](const std::string& reason) {
    const std::string place = world ? run::place_of(world->communicator()) : "";
    return place.empty() ? reason : place + " - " + reason;
  };
  try {
    world = std::make_unique<World>(argc, argv);
    body(*world);
    return 0;
  } catch (const Error& error) {
    return give_up(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return give_up("memory - the system gives this device no more; use more devices, or smaller microbatches",
                   1);
  } catch (...) {
    return give_up(placed(describe_exception()), 1);
  }
}

}  // namespace shoal
