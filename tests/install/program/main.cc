// What a user writes: a module of their own, LibTorch's headers, and Shoal's.
#include <shoal/world.h>
#include <torch/torch.h>

#include <cstdio>

struct Doubler : torch::nn::Module {
  Doubler() : factor(register_parameter("factor", torch::full({1}, 2.0))) {}
  torch::Tensor forward(const torch::Tensor& x) { return factor * x; }
  torch::Tensor factor;
};

int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [](shoal::World& world) {
    const auto twice = Doubler().forward(torch::full({1}, float(world.rank() + 1)));
    std::printf("rank %d of %d: %g\n", world.rank(), world.size(), twice.item<double>());
  });
}
