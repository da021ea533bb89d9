// A program for the launcher's tests: rank_program WHAT [ARGS], as a user's program would be written.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>

#include "comm/collectives.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace {

using shoal::comm::Communicator;
using shoal::comm::Group;
using Arguments = std::vector<std::string>;

// One short line is written at once, so that the ranks' lines do not mix.
void note_process(const std::string& file) {
  std::ofstream(file, std::ios::app) << std::to_string(getpid()) + "\n" << std::flush;
}

const std::map<std::string, std::function<int(Group&, const Arguments&)>> kPrograms = {
    {"sum",  // of the ranks
     [](Group& world, const Arguments&) {
       const float mine = static_cast<float>(world.rank());
       float sum = 0;
       all_reduce(world, shoal::comm::DType::kF32, std::as_bytes(std::span(&mine, 1)),
                  std::as_writable_bytes(std::span(&sum, 1)));
       if (world.rank() == 0) std::cout << "sum " << sum << std::endl;
       return 0;
     }},
    {"code",  // rank 1 ends with the code given
     [](Group& world, const Arguments& arguments) {
       world.communicator().set_activity("step 3");
       if (world.rank() == 1) _exit(std::stoi(arguments[0]));
       world.barrier();
       return 0;
     }},
    {"input",
     [](Group&, const Arguments&) -> int {
       throw shoal::InputError("recipe.toml - steps: got -1, want 1 or more");
     }},
    {"job",
     [](Group& world, const Arguments&) {
       world.communicator().set_activity("step 8");
       if (world.rank() == 1) throw shoal::JobError("disk - write: got no space, want 3 bytes");
       world.barrier();
       return 0;
     }},
    {"forever",  // barriers, until a signal asks for the end; notes its process
     [](Group& world, const Arguments& arguments) {
       world.communicator().set_activity("step 1: compute");
       shoal::comm::install_stop_handlers();
       note_process(arguments[0]);
       for (;;) {
         const std::byte mine{shoal::comm::stop_requested()};
         for (const auto& theirs : all_gather(world, {&mine, 1}))
           if (theirs[0] != std::byte{0}) return 0;
         usleep(1000);
       }
     }},
    {"slow to end",  // half a second after it was asked to
     [](Group&, const Arguments& arguments) {
       shoal::comm::install_stop_handlers();
       note_process(arguments[0]);
       while (!shoal::comm::stop_requested()) usleep(1000);
       usleep(500'000);
       return 0;
     }},
    {"deaf",  // ignores signals; notes its process
     [](Group&, const Arguments& arguments) {
       signal(SIGINT, SIG_IGN);
       signal(SIGTERM, SIG_IGN);
       note_process(arguments[0]);
       for (;;) pause();
       return 0;
     }},
    {"twice",
     [](Group&, const Arguments&) {
       shoal::comm::from_environment();
       return 0;
     }},
    {"stdin",
     [](Group& world, const Arguments&) {
       std::string word;
       std::cin >> word;
       const auto all = all_gather(world, std::as_bytes(std::span(word)));
       if (world.rank() == 0) std::cout << all[0].size() << " " << all[1].size() << std::endl;
       return 0;
     }},
};

}  // namespace

int main(int argc, char** argv) {
  std::unique_ptr<Communicator> communicator;
  const auto fail = [&](const std::string& sentence, int code) {
    if (communicator) communicator->abort(sentence);
    if (!shoal::comm::report_failure(sentence, code)) std::fprintf(stderr, "%s\n", sentence.c_str());
    return code;
  };
  try {
    communicator = shoal::comm::from_environment();
    Group world(*communicator);
    return kPrograms.at(argv[1])(world, Arguments(argv + 2, argv + argc));
  } catch (const shoal::Error& error) {
    return fail(error.what(), error.exit_code());
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}
