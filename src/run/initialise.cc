#include "run/initialise.h"

#include "run/frame.h"

namespace shoal::run {

void initialise(kernels::Device& device, const graph::Graph& graph, uint64_t seed,
                const std::function<void(int, const at::Tensor&)>& take) {
  device.with_generator(seed, [&] {
    CompiledGraph compiled(graph, device);
    const std::vector<at::Tensor> inputs(graph.inputs.size());
    Frame(compiled).run_all({.inputs = inputs, .sequential_random = true}, take);
  });
}

}  // namespace shoal::run
