#include "cli/engine_flags.h"

#include <CLI/CLI.hpp>

#include "base/text.h"
#include "cli/usage.h"
#include "comm/launch.h"
#include "shoal/error.h"

namespace shoal::cli {

void add_engine_flags(CLI::App& command, const char* name, EngineFlags& flags) {
  command
      .add_option(
          name, flags.model,
          "a GGUF file, a Hugging Face folder, a checkpoint or a folder of checkpoints (then the latest)")
      ->required();
  number<int>(command.add_option("--devices", flags.devices, "processes; the answer does not depend on it"))
      ->type_name("N");
  command.add_option("--layout", flags.layout, "how they share the work, as tp=2,dp=2; without it dp")
      ->type_name("LAYOUT");
}

infer::EngineOptions engine_options(const EngineFlags& flags) {
  infer::EngineOptions options;
  if (flags.devices < 0 || flags.devices > comm::kMaxDevices)
    throw InputError(cat("--devices - got ", flags.devices, ", want 1 to ", comm::kMaxDevices));
  infer::set_layout(options, flags.layout, "--layout");
  const int64_t devices = options.tp * options.pp * options.dp;
  if (flags.layout.empty() && flags.devices > 0)
    options.dp = flags.devices;
  else if (flags.devices > 0 && flags.devices != devices)
    throw InputError(
        cat("--devices - got ", flags.devices, ", want the ", devices, " of --layout ", flags.layout));
  return options;
}

}  // namespace shoal::cli
