#include "run/initialise.h"

#include <ATen/CPUGeneratorImpl.h>

#include <mutex>

#include "run/executor.h"

namespace shoal::run {
namespace {

// The constructor's operators draw from the process's one generator: it is borrowed.
class BorrowedGenerator {
 public:
  explicit BorrowedGenerator(uint64_t seed)
      : generator_(at::detail::getDefaultCPUGenerator()), before_(generator_.get_state()) {
    generator_.set_current_seed(seed);
  }
  ~BorrowedGenerator() { generator_.set_state(before_); }

 private:
  at::Generator generator_;
  at::Tensor before_;
};

}  // namespace

void initialise(const graph::Graph& graph, uint64_t seed,
                const std::function<void(int, const at::Tensor&)>& take) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  const BorrowedGenerator generator(seed);
  Executor executor(graph);
  const std::vector<at::Tensor> inputs(graph.inputs.size());
  Executor::Run run;
  run.inputs = inputs;
  run.sequential_random = true;
  run.sink = take;
  executor.run(run);
}

}  // namespace shoal::run
