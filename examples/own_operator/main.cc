// An operator of your own, with a kernel, a gradient and a rule that says how it may be divided.
#include <shoal/shoal.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <cstdio>

namespace {

// The operator, and its gradient as an operator too: both become nodes of the graph, so both have a rule.
torch::Tensor squared_relu(const torch::Tensor& x) { return x.clamp_min(0).square(); }
torch::Tensor squared_relu_backward(const torch::Tensor& grad, const torch::Tensor& x) {
  return grad * x.clamp_min(0) * 2;
}

template <class... Tensors>
torch::Tensor call(const char* name, const Tensors&... tensors) {
  using Signature = torch::Tensor(const Tensors&...);
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>().call(tensors...);
}

struct SquaredRelu : torch::autograd::Function<SquaredRelu> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({x});
    return call("my::squared_relu", x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    return {call("my::squared_relu_backward", grads[0], context->get_saved_variables()[0])};
  }
};

TORCH_LIBRARY(my, library) {
  library.def("squared_relu(Tensor x) -> Tensor");
  library.def("squared_relu_backward(Tensor grad, Tensor x) -> Tensor");
}
TORCH_LIBRARY_IMPL(my, CPU, library) {
  library.impl("squared_relu", &squared_relu);
  library.impl("squared_relu_backward", &squared_relu_backward);
}
TORCH_LIBRARY_IMPL(my, Autograd, library) {
  library.impl("squared_relu", [](const torch::Tensor& x) { return SquaredRelu::apply(x); });
}

struct NetImpl : torch::nn::Module {
  torch::nn::Linear hidden{register_module("hidden", torch::nn::Linear(32, 64))};
  torch::nn::Linear out{register_module("out", torch::nn::Linear(64, 4))};
  torch::Tensor forward(const torch::Tensor& x) { return out(call("my::squared_relu", hidden(x))); }
};
TORCH_MODULE(Net);

}  // namespace

// program [LAYOUT]: for example `shoal run -n 2 program tp=2`.
int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [&](shoal::World& world) {
    // Every element by itself: any dim may be divided.
    shoal::register_rule("my::squared_relu", "...->...");
    shoal::register_rule("my::squared_relu_backward", "...,...->...");

    auto model = shoal::describe([] { return Net(); });
    auto loss = [](Net& net, const shoal::Batch& batch) { return torch::mse_loss(net(batch[0]), batch[1]); };
    shoal::TrainerOptions options{
        .optimizer = shoal::AdamW{.lr = 3e-3}, .microbatches = 8, .tensor_chunks = 2};
    if (argc > 1) options.layout = shoal::parse_layout(argv[1], "program - LAYOUT");
    shoal::Trainer trainer(world, model, loss, options);
    for (int step = 0; step < 100; ++step) {
      torch::manual_seed(step);
      const auto x = torch::randn({64, 32});
      const auto result = trainer.step({x, x.slice(1, 0, 4)});
      if (world.rank() == 0 && step % 33 == 0) std::printf("step %d  loss %.9g\n", step, result.loss);
    }
    trainer.save("checkpoint");
  });
}
