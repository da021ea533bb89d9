#include "infer/replica.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "shoal/error.h"

extern char** environ;

namespace shoal::infer {
namespace {

constexpr const char* kProgram = "shoal_device";

[[noreturn]] void fail_system(const char* what, int error) {
  throw JobError(cat("devices - ", what, ": ", std::generic_category().message(error)));
}

// The attributes of a device's process: a group of its own, so that Ctrl-C in a terminal reaches the engine
// alone, and signals as a new program expects them.
class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes_, 0);
    sigset_t none, all;
    sigemptyset(&none), sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawn_file_actions_init(&actions_);
  }
  ~Attributes() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
};

// A copy that stands above the descriptors of a device, so that none is written over as they are put in
// place.
int raised(int descriptor) {
  const int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 16);
  if (copy < 0) fail_system("descriptors", errno);
  return copy;
}

}  // namespace

std::string device_program() {
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& candidate : {folder / kProgram, folder.parent_path() / kProgram})
    if (access(candidate.c_str(), X_OK) == 0) return candidate.string();
  throw JobError(cat("devices - ", kProgram, ": got none beside this program in ", folder.string(),
                     ", want the one that is built and installed with it"));
}

Replica::Replica(const DevicePlace& place)
    : place_(place), steps_(place.limits, place.slots), done_(static_cast<size_t>(place.slots)) {}

Replica::~Replica() { stop(); }

void Replica::start() {
  stop();
  const std::string program = device_program();
  const auto ranks = static_cast<size_t>(place_.tp * place_.pp);
  memory_ = comm::SharedMemory::create(static_cast<int>(ranks));
  sockets_.assign(ranks, -1);
  processes_.assign(ranks, -1);
  for (size_t rank = 0; rank < ranks; ++rank) start_rank(static_cast<int64_t>(rank), program);
}

void Replica::start_rank(int64_t rank, const std::string& program) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) fail_system("socket", errno);
  sockets_[static_cast<size_t>(rank)] = ends[0];
  const int theirs[] = {raised(ends[1]), raised(memory_->descriptor()), raised(steps_.descriptor())};
  close(ends[1]);
  Attributes with;
  for (size_t i = 0; i < 3; ++i)
    posix_spawn_file_actions_adddup2(&with.actions_, theirs[i], kSocket + static_cast<int>(i));
  posix_spawn_file_actions_addopen(&with.actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  // Whatever else is open here, clients of a server above all, is none of a device's.
  posix_spawn_file_actions_addclosefrom_np(&with.actions_, kStepMemory + 1);

  DevicePlace place = place_;
  place.rank = rank;
  std::vector<std::string> words = place.arguments();
  words.insert(words.begin(), program);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t process = -1;
  const int error =
      posix_spawn(&process, program.c_str(), &with.actions_, &with.attributes_, arguments.data(), environ);
  for (const int descriptor : theirs) close(descriptor);
  if (error != 0) fail_system("cannot be started", error);
  processes_[static_cast<size_t>(rank)] = process;
}

void Replica::stop() {
  for (int& socket : sockets_)
    if (socket >= 0) close(std::exchange(socket, -1));
  for (const pid_t process : processes_)
    if (process > 0) kill(process, SIGKILL);
  for (pid_t& process : processes_)
    if (process > 0)
      while (waitpid(std::exchange(process, -1), nullptr, 0) < 0 && errno == EINTR) continue;
  memory_.reset();
  ready_ = 0;
  std::ranges::fill(done_, 0);
}

void Replica::submit(int64_t slot, const StepData& data) {
  steps_.write(slot, data);
  done_[static_cast<size_t>(slot)] = 0;
  const Order order{static_cast<uint32_t>(slot)};
  // A device that is gone does not take it; receive() finds that out.
  for (const int socket : sockets_)
    while (::send(socket, &order, sizeof order, MSG_NOSIGNAL) < 0 && errno == EINTR) continue;
}

std::string Replica::ending(size_t rank) {
  // The socket closes a moment before the process can be waited for.
  int status = 0;
  for (int i = 0;; ++i) {
    const pid_t ended = waitpid(processes_[rank], &status, WNOHANG);
    if (ended == processes_[rank]) break;
    if (ended < 0 && errno != EINTR) return "it is gone";  // somebody else has waited for it
    if (i == 1000) return "it has closed its socket";
    usleep(1000);
  }
  processes_[rank] = -1;
  if (!WIFSIGNALED(status)) return cat("it ended with exit code ", WEXITSTATUS(status));
  const char* const name = sigdescr_np(WTERMSIG(status));
  return cat("it was killed by signal ", WTERMSIG(status), " (", name ? name : "unknown", ")");
}

std::optional<Replica::Event> Replica::from(size_t rank) {
  Report report{};
  ssize_t count;
  while ((count = recv(sockets_[rank], &report, sizeof report, MSG_DONTWAIT)) < 0 && errno == EINTR) continue;
  if (count < 0 && errno == EAGAIN) return std::nullopt;
  const std::string place = cat("device ", rank, " of ", place_.tp * place_.pp);
  if (count <= 0) return Event{Event::kFailed, 0, cat(place, " - ", ending(rank)), false};
  switch (report.kind) {
    case Report::kReady:
      if (++ready_ == place_.tp * place_.pp) return Event{Event::kReady, 0, "", false};
      return std::nullopt;
    case Report::kDone:
      if (static_cast<int64_t>(rank) / place_.tp == place_.pp - 1 && ++done_[report.slot] == place_.tp)
        return Event{Event::kDone, report.slot, "", false};
      return std::nullopt;
    default:
      return Event{Event::kFailed, 0, report.sentence, report.kind == Report::kInputError};
  }
}

std::optional<Replica::Event> Replica::receive() {
  for (size_t rank = 0; rank < sockets_.size(); ++rank) {
    if (sockets_[rank] < 0) continue;
    for (;;) {
      const int64_t before = ready_;
      std::optional<Event> event = from(rank);
      if (event) return event;
      if (ready_ == before) break;  // nothing more here, or a step that others are still at
    }
  }
  return std::nullopt;
}

}  // namespace shoal::infer
