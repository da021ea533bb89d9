// Models cut in stages: program MODEL [LAYOUT [STAGES]], with the parameters at which stages 1, 2, ... begin, or none: balanced.
//   shoal run -n 3 program unet pp=3
//   shoal run -n 4 program tied_gpt pp=4 blocks.1.norm1.weight,blocks.2.norm1.weight,blocks.3.norm1.weight
//   shoal run -n 2 program encoder_decoder pp=2,schedule=zero_bubble
// The models are plain LibTorch and know nothing of it. With any other layout losses and weights are the same, to the last bit.
#include <shoal/shoal.h>

#include <cstdio>
#include <sstream>

#include "encoder_decoder.h"
#include "tied_gpt.h"
#include "unet.h"

namespace {

/// Of all weights (FNV-1a).
uint64_t hash_of(const shoal::Trainer& trainer, const torch::nn::Module& module) {
  uint64_t hash = 14695981039346656037U;
  for (const auto& named : module.named_parameters()) {
    const torch::Tensor value = trainer.parameter(named.key());
    const auto* bytes = static_cast<const unsigned char*>(value.const_data_ptr());
    for (size_t i = 0; i < value.nbytes(); ++i) hash = (hash ^ bytes[i]) * 1099511628211U;
  }
  return hash;
}

/// The first parameter that this device computes with, which is where its first stage begins: the one that its plan names first.
std::string first_parameter(const std::string& plan) {
  const size_t list = plan.find(" parameters ");
  if (list == std::string::npos) return "none: it keeps weights";
  std::istringstream words(plan.substr(list));
  std::string word, count, name;
  words >> word >> count >> name;
  return name;
}

template <class Construct, class MakeBatch>
void train(shoal::World& world, shoal::TrainerOptions options, Construct construct, MakeBatch make_batch) {
  const auto model = shoal::describe(construct);
  const auto loss = [](auto& module, const shoal::Batch& batch) { return loss_of(module, batch); };
  shoal::Trainer trainer(world, model, loss, options);
  for (int step = 0; step <= 90; ++step) {
    torch::manual_seed(step);
    const auto result = trainer.step(make_batch(32));
    if (step == 0) std::printf("device %d begins with %s\n", world.rank(), first_parameter(trainer.plan()).c_str());
    if (world.rank() == 0 && step % 30 == 0) std::printf("step %d  loss %.9g\n", step, result.loss);
  }
  if (world.rank() == 0) std::printf("weights %016lx\n", hash_of(trainer, *model.module));
}

}  // namespace

int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [&](shoal::World& world) {
    shoal::TrainerOptions options{.optimizer = shoal::AdamW{.lr = 3e-3}, .microbatches = 8};
    if (argc > 2) options.layout = shoal::parse_layout(argv[2], "program - LAYOUT");
    if (argc > 3) {
      std::istringstream names(argv[3]);
      for (std::string name; std::getline(names, name, ',');) options.stages.push_back(name);
    }
    const std::string model = argc > 1 ? argv[1] : "";
    if (model == "unet")
      train(world, options, [] { return Unet(); }, discs);
    else if (model == "tied_gpt")
      train(world, options, [] { return TiedGpt(); }, walks);
    else if (model == "encoder_decoder")
      train(world, options, [] { return EncoderDecoder(); }, reversals);
    else
      throw shoal::InputError("program - MODEL: got \"" + model + "\", want unet, tied_gpt or encoder_decoder");
  });
}
