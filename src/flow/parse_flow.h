// A pipeline file (TOML) as a Flow. docs/data_engine.md has its keys.
#pragma once

#include <filesystem>

#include "shoal/flow.h"

namespace shoal::flow {

/// Whether the file has a [read] table: a flow, and no pipeline of `shoal data` for tokens. False for what is
/// no TOML.
bool is_flow_file(const std::filesystem::path&);
/// Throws InputError with file and line. The output's folder may be missing from it: the command line can
/// give it.
Flow load_flow(const std::filesystem::path&);

}  // namespace shoal::flow
