// Starting ranks as processes that run a command, and being such a rank. What goes from one to the other:
// three variables of the environment, all named and read here, and the descriptor of the job's memory.
#include "comm/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "base/text.h"
#include "comm/shm/communicator.h"
#include "comm/shm/job.h"
#include "comm/shm/memory.h"
#include "shoal/error.h"

extern char** environ;

namespace shoal::comm {
namespace {

constexpr const char* kRank = "SHOAL_RANK";
constexpr const char* kWorldSize = "SHOAL_WORLD_SIZE";
constexpr const char* kMemory = "SHOAL_MEMORY";  // a descriptor

int whole_number(const char* name, int least, int most) {
  const char* const text = std::getenv(name);
  int value = 0;
  const char* const end = text ? text + std::strlen(text) : nullptr;
  if (!text || std::from_chars(text, end, value).ptr != end || text == end || value < least || value > most)
    throw InputError(
        cat(name, " - environment: got ", text ? cat("\"", text, "\"") : "nothing",
            ", want a whole number from ", least, " to ", most,
            "; it is set by the launcher alone (shoal run -n N PROGRAM), unset it to run on one device"));
  return value;
}

struct Place {
  int rank;
  std::shared_ptr<SharedMemory> memory;
};

// REQUIRES: is_launched(). The descriptor itself stays open for whoever asks next.
Place read_environment() {
  const int ranks = whole_number(kWorldSize, 1, kMaxRanks);
  const int rank = whole_number(kRank, 0, ranks - 1);
  const int inherited = whole_number(kMemory, 0, 1 << 20);
  const int descriptor = fcntl(inherited, F_DUPFD_CLOEXEC, 3);
  if (descriptor < 0)
    throw InputError(cat(kMemory, " - environment: got ", inherited,
                         ", want an open descriptor; start the ranks by shoal run -n N PROGRAM"));
  return {rank, SharedMemory::attach(descriptor, ranks)};
}

// The caller's environment with the rank's place in it.
std::vector<std::string> rank_environment(int rank, const SharedMemory& memory) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (name != kRank && name != kWorldSize && name != kMemory) variables.emplace_back(text);
  }
  variables.push_back(cat(kRank, "=", rank));
  variables.push_back(cat(kWorldSize, "=", memory.ranks()));
  variables.push_back(cat(kMemory, "=", memory.descriptor()));
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

}  // namespace

int launch(const LaunchOptions& options) {
  if (options.devices < 1 || options.devices > kMaxDevices)
    throw InputError(cat(options.name, " - devices: got ", options.devices, ", want 1 to ", kMaxDevices));
  if (options.command.empty())
    throw InputError(cat(options.name, " - command: got nothing, want a program to run"));
  check_started_once();
  const auto memory = SharedMemory::create(options.devices);
  std::vector<std::string> command = options.command;
  std::vector<char*> arguments = pointers(command);

  Ending ending = run_job(*memory, [&](int rank) {
    std::vector<std::string> environment = rank_environment(rank, *memory);
    fcntl(memory->descriptor(), F_SETFD, 0);
    execvpe(arguments[0], arguments.data(), pointers(environment).data());
    memory->state(rank).start_error.store(errno);
    return 2;
  });
  if (const std::optional<int> failed = memory->failed_rank())
    if (const int error = memory->state(*failed).start_error.load())
      ending.sentence = cat(command[0], " - cannot be started: ", std::generic_category().message(error));
  if (ending.exit_code != 0 && options.advice) ending.sentence += options.advice(ending.exit_code);
  if (!ending.sentence.empty())
    std::fprintf(stderr, "%s: %s\n", options.name.c_str(), ending.sentence.c_str());
  return ending.exit_code;
}

bool is_launched() { return std::getenv(kRank) != nullptr; }

std::unique_ptr<Communicator> from_environment() {
  if (!is_launched()) {
    check_started_once();
    return single();
  }
  const Place place = read_environment();
  const pid_t launcher = place.memory->board().launcher.load();
  if (kill(launcher, 0) != 0 && errno == ESRCH)
    throw JobError(cat("rank ", place.rank, " - launcher: got no process ", launcher,
                       ", want it alive; start the job again"));
  return shm_communicator(place.memory, place.rank);
}

bool report_failure(const std::string& sentence, int exit_code) noexcept {
  if (!is_launched()) return false;
  try {
    const Place place = read_environment();
    RankState& state = place.memory->state(place.rank);
    state.sentence.set(sentence);
    state.exit_code.store(exit_code);
    place.memory->fail(place.rank, sentence);
    return true;
  } catch (const std::exception&) {
    return false;  // a broken environment: the caller prints the sentence itself
  }
}

}  // namespace shoal::comm
