// `shoal data` for flows, without LibTorch: what the tests run as processes.
//   flow_program PIPELINE.toml [-n N] [--out DIR] [--work DIR] | --explain PIPELINE.toml | show PATH | verify
//   PATH
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "comm/comm.h"
#include "comm/launch.h"
#include "data/token_store.h"
#include "flow/manifest.h"
#include "flow/parse_flow.h"
#include "shoal/error.h"

namespace {

int run(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  std::string out, work;
  int devices = 1;
  std::vector<std::string> rest;
  bool explain = false;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "-n")
      devices = std::atoi(words.at(++i).c_str());
    else if (words[i] == "--out")
      out = words.at(++i);
    else if (words[i] == "--work")
      work = words.at(++i);
    else if (words[i] == "--explain")
      explain = true;
    else
      rest.push_back(words[i]);
  }
  if (rest.size() == 2 && rest[0] == "show" && shoal::data::is_token_store(rest[1]))
    return std::fputs(shoal::data::TokenStore(rest[1]).describe().c_str(), stdout) < 0;
  if (rest.size() == 2 && rest[0] == "show")
    return std::fputs(shoal::flow::show(rest[1]).c_str(), stdout) < 0;
  if (rest.size() == 2 && rest[0] == "verify")
    return std::printf("%zu files, all as written\n", shoal::flow::verify_output(rest[1]).files.size()) < 0;
  shoal::Flow flow = shoal::flow::load_flow(rest.at(0));
  if (!out.empty()) flow.sink.out = out;
  if (!work.empty()) flow.sink.work = work;
  if (explain) return std::fputs(shoal::explain(flow).c_str(), stdout) < 0;
  if (devices > 1 && !shoal::comm::is_launched())
    return shoal::comm::launch({devices, {argv, argv + argc}, "flow_program"});
  const auto communicator = shoal::comm::from_environment();
  try {
    const shoal::FlowReport report = shoal::run_flow(flow, *communicator);
    if (communicator->rank() == 0)
      std::printf("%lld rows in %lld files, %lld parts kept\n", static_cast<long long>(report.rows),
                  static_cast<long long>(report.files), static_cast<long long>(report.parts_kept));
  } catch (const shoal::Error& error) {
    if (!shoal::comm::report_failure(error.what(), error.exit_code())) throw;
    communicator->abort(error.what());
    return error.exit_code();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const shoal::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code();
  }
}
