// What torchrun, srun and mpirun leave in the environment of the processes that they start.
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/text.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

std::optional<int> number(const char* variable) {
  const char* const text = std::getenv(variable);
  int value = 0;
  const char* const end = text ? text + std::strlen(text) : nullptr;
  if (!text || text == end || std::from_chars(text, end, value).ptr != end) return std::nullopt;
  return value;
}

bool is_set(const char* variable) { return std::getenv(variable) != nullptr; }

bool says(const char* variable, std::string_view text) {
  return is_set(variable) && std::getenv(variable) == text;
}

struct Found {
  std::string variable;  // that says so
  std::string launcher;
  std::optional<int> processes;  // where it is known
};

std::vector<Found> other_launchers() {
  std::vector<Found> found;
  const auto look = [&](const char* variable, const char* launcher) {
    if (const std::optional<int> size = number(variable); size && *size > 1)
      found.push_back({variable, launcher, size});
  };
  // Others than torchrun call something of theirs WORLD_SIZE, but hardly beside a rank.
  if (is_set("RANK") || is_set("LOCAL_RANK")) look("WORLD_SIZE", "torchrun");
  look("OMPI_COMM_WORLD_SIZE", "mpirun");
  look("MV2_COMM_WORLD_SIZE", "mpirun");
  look("PMI_SIZE", "mpirun");
  // The script of sbatch and the shell of salloc see the tasks of the whole job, and are one process: they
  // are no step, or one of a single task.
  const bool is_batch_script = number("SLURM_PROCID") == 0 && says("ENVIRONMENT", "BATCH");
  if (is_set("SLURM_STEP_NUM_TASKS"))
    look("SLURM_STEP_NUM_TASKS", "srun");
  else if (number("SLURM_NTASKS").value_or(1) > 1 && is_set("SLURM_PROCID") && !is_batch_script)
    found.push_back({"SLURM_PROCID", "srun", number("SLURM_NTASKS")});
  if (const std::optional<int> rank = number("PMIX_RANK"); found.empty() && rank && *rank > 0)
    found.push_back({"PMIX_RANK", "mpirun", std::nullopt});
  return found;
}

}  // namespace

void check_started_once() {
  const std::vector<Found> found = other_launchers();
  if (found.empty()) return;
  const Found& first = found.front();
  const std::string n = first.processes ? cat(*first.processes) : "N", many = first.processes ? n : "several";
  std::string unset;
  for (const Found& one : found) unset += " -u " + one.variable;
  throw InputError(cat(first.variable, " - environment: got ", many, " processes started by ", first.launcher,
                       ", each of which would run alone, want one command that starts its devices itself: ",
                       "shoal run -n ", n, " PROGRAM, or shoal train RECIPE --devices ", n,
                       "; if each is to run alone, start it with env", unset));
}

}  // namespace shoal::comm
