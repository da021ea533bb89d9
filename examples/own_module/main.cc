#include <shoal/shoal.h>
#include <torch/torch.h>

#include <cstdio>

struct NetImpl : torch::nn::Module {  // a plain LibTorch module
  torch::nn::Linear hidden{register_module("hidden", torch::nn::Linear(32, 64))};
  torch::nn::Linear out{register_module("out", torch::nn::Linear(64, 4))};
  torch::Tensor forward(const torch::Tensor& x) { return out(torch::relu(hidden(x))); }
};
TORCH_MODULE(Net);

int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [](shoal::World& world) {
    auto model = shoal::describe([] { return Net(); });  // shapes, and no memory yet
    auto loss = [](Net& net, const shoal::Batch& batch) { return torch::mse_loss(net(batch[0]), batch[1]); };
    shoal::Trainer trainer(world, model, loss, {.optimizer = shoal::AdamW{.lr = 3e-3}, .microbatches = 8});
    for (int step = 0; step < 100; ++step) {
      torch::manual_seed(step);
      const auto x = torch::randn({64, 32});
      const auto result = trainer.step({x, x.slice(1, 0, 4)});
      if (world.rank() == 0 && step % 33 == 0) std::printf("step %d  loss %.9g\n", step, result.loss);
    }
    trainer.save("checkpoint");
  });
}
