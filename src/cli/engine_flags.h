// The flags of commands that answer from a model: which model, on which devices.
#pragma once

#include <string>

#include "infer/engine.h"

namespace CLI {
class App;
}

namespace shoal::cli {

struct EngineFlags {
  std::string model, layout;
  int devices = 0;  // 0: as many as the layout has
};

/// Declares them: `name` is the positional one.
void add_engine_flags(CLI::App& command, const char* name, EngineFlags&);

/// As options of an engine: devices without a layout share out the texts. Throws InputError.
infer::EngineOptions engine_options(const EngineFlags&);

}  // namespace shoal::cli
