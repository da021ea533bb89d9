// What `shoal data` does with a flow: the pipeline file that has a [read] table (docs/data_engine.md).
#pragma once

#include <string>
#include <vector>

#include "cli/commands.h"

namespace shoal::cli {

struct FlowRequest {
  std::string file;
  std::vector<std::string> inputs;  // in place of the file's paths
  std::string out, work;            // in place of the file's
  int devices = 1;
  bool explain = false;
};

/// Returns the exit code.
int run_flow_file(const FlowRequest&, const Invocation&);
int show_data(const std::string& path);
int verify_data(const std::string& path);

}  // namespace shoal::cli
