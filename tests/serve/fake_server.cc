// A server with the model that repeats its prompt, for tests of clients and of the page: prints its port, and serves
// until its input ends.
//   fake_server [MICROSECONDS of a token] [KEY]
#include <cstdio>
#include <cstdlib>

#include "serve/server.h"
#include "serve/fake_model.h"

int main(int argc, char** argv) {
  using namespace shoal::serve;
  const std::chrono::microseconds step(argc > 1 ? std::atoi(argv[1]) : 0);
  ServerOptions options;
  options.port = 0;
  if (argc > 2) options.api.keys = {argv[2]};
  Server server(options, [&] { return std::make_shared<FakeModel>("fake", step); }, nullptr);
  server.start();
  std::printf("%d\n", server.port());
  std::fflush(stdout);
  while (std::getchar() != EOF) continue;
  return 0;
}
