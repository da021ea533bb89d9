// One rank of the deaths inside of a pipeline: shoal run -n N pipeline_program LAYOUT RANK HOW CALL
//
// Trains layers that each end with an operator of the program's own. In step 2 that operator, at its CALL-th call on device
// RANK, does HOW: "kill" and "stop" send the device that signal, "throw" throws; "data" throws where the data function is
// called the CALL-th time; with "none" every device counts its calls. Says on stdout, each in a line: the process of every
// device, how many calls it counted, and the second (CLOCK_MONOTONIC) in which one died.
#include <signal.h>
#include <time.h>
#include <torch/library.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/text.h"
#include "shoal/shoal.h"

namespace {

constexpr int64_t kLayers = 6, kMicrobatches = 6, kStepOfDeath = 2;

// Of this device, in the step of death.
struct {
  bool is_there = false;
  std::string how;
  int64_t at = 0, calls = 0;
} death;

void say(const std::string& line) {
  const std::string text = line + "\n";  // written at once, so that lines of devices do not mix
  if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) std::abort();
}

void count_call(bool of_data) {
  if (!death.is_there || (death.how == "data") != of_data || ++death.calls != death.at || death.how == "none") return;
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  say(shoal::cat("died ", now.tv_sec, ".", std::to_string(1000000000 + now.tv_nsec).substr(1)));
  if (death.how == "kill") ::kill(::getpid(), SIGKILL);
  if (death.how == "stop") ::kill(::getpid(), SIGSTOP);
  if (death.how == "throw" || of_data) throw std::runtime_error("out of luck");
}

torch::Tensor mark(const torch::Tensor& x) {
  count_call(false);
  return x.clone();
}

torch::Tensor call_mark(const torch::Tensor& x) {
  return c10::Dispatcher::singleton().findSchemaOrThrow("fault::mark", "").typed<torch::Tensor(const torch::Tensor&)>().call(x);
}

struct Mark : torch::autograd::Function<Mark> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& x) {
    const at::AutoDispatchBelowADInplaceOrView below;
    return call_mark(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& grads) {
    return {call_mark(grads[0])};
  }
};

TORCH_LIBRARY(fault, library) { library.def("mark(Tensor x) -> Tensor"); }
TORCH_LIBRARY_IMPL(fault, CPU, library) { library.impl("mark", &mark); }
TORCH_LIBRARY_IMPL(fault, Autograd, library) {
  library.impl("mark", [](const torch::Tensor& x) { return Mark::apply(x); });
}

struct NetImpl : torch::nn::Module {
  NetImpl() {
    for (int64_t i = 0; i < kLayers; ++i) layers->push_back(torch::nn::Linear(16, 16));
  }
  torch::Tensor forward(torch::Tensor x) {
    for (const auto& layer : *layers) x = call_mark(torch::tanh(layer->as<torch::nn::Linear>()->forward(x)));
    return x;
  }
  torch::nn::ModuleList layers{register_module("layers", torch::nn::ModuleList())};
};
TORCH_MODULE(Net);

}  // namespace

int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [&](shoal::World& world) {
    say(shoal::cat("process ", ::getpid()));
    const bool dies = world.rank() == std::atoi(argv[2]);
    death.how = argv[3];
    death.at = std::atoll(argv[4]);
    const auto loss = [](Net& net, const shoal::Batch& batch) { return torch::mse_loss(net(batch[0]), batch[1]); };
    shoal::Trainer trainer(world, shoal::describe([] { return Net(); }), loss,
                           {.microbatches = kMicrobatches, .layout = shoal::parse_layout(argv[1], "pipeline_program - LAYOUT")});
    for (int64_t step = 0; step < 4; ++step) {
      death.is_there = (dies || death.how == "none") && step == kStepOfDeath;
      trainer.step([&](int64_t microbatch) -> shoal::Batch {
        count_call(true);
        torch::manual_seed(kMicrobatches * step + microbatch);
        const auto x = torch::randn({4, 16});
        return {x, x.tanh()};
      });
    }
    say(shoal::cat("calls_of_", world.rank(), " ", death.calls));
  });
}
