// From frames of a camera to a perception model, on any devices:
//   program import FRAMES STORE                       a folder of PNGs becomes a sample store
//   shoal run -n 2 program train STORE LAYOUT STEPS [PICTURE.png]
// Whatever the layout, losses, weights and predictions are the same, to the last bit.
#include <shoal/shoal.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "frames.h"
#include "picture.h"
#include "scores.h"
#include "segmenter.h"

namespace {

constexpr int64_t kMicrobatches = 4, kMicrobatchSamples = 4;  // 16 frames a step
constexpr size_t kShownFrames = 6;

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

void train(shoal::World& world, const std::string& folder, const std::string& layout, int64_t steps,
           const std::string& picture) {
  const shoal::SampleStore store(folder);
  shoal::SampleLoader loader(store, kFields,
                             {.microbatches = kMicrobatches, .microbatch_samples = kMicrobatchSamples});
  const auto model = shoal::describe([] { return Segmenter(kClasses); });
  const auto loss = [](Segmenter& net, const shoal::Batch& batch) { return loss_of(net, batch); };
  shoal::TrainerOptions options{.optimizer = shoal::AdamW{.lr = 4e-3},
                                .microbatches = kMicrobatches,
                                .clip_norm = 1,
                                .schedule = {.warmup_steps = steps / 20, .total_steps = steps},
                                .tensor_chunks = 2};
  if (!layout.empty()) options.layout = shoal::parse_layout(layout, "program - LAYOUT");
  shoal::Trainer trainer(world, model, loss, options);
  const bool tells = world.rank() == 0;

  for (int64_t step = 0; step < steps; ++step) {
    const auto result = trainer.step([&](int64_t microbatch) { return loader.training(step, microbatch); });
    if (tells && (step % 20 == 0 || step + 1 == steps)) {
      std::printf("step %ld  loss %.6f\n", static_cast<long>(step), result.loss);
      std::fflush(stdout);
    }
    if (result.stop_requested) break;
  }

  // The validation frames, predicted by all devices; the first one looks at what comes out.
  const torch::Tensor usual = tells ? most_frequent_classes(store) : torch::Tensor();
  Scores of_model, of_baseline;
  std::vector<Row> rows;
  Segmenter net = model.module;
  trainer.predict([&](const shoal::Batch& batch) { return net(batch[0]); }, loader.num_validation_batches(),
                  [&](int64_t i) { return loader.validation(i); },
                  [&](int64_t i, const torch::Tensor& scores) {
                    const shoal::Batch batch = loader.validation(i);
                    const torch::Tensor said = scores.argmax(1);
                    of_model.add(batch[1], said);
                    of_baseline.add(batch[1], usual.expand_as(batch[1]));
                    for (int64_t row = 0; row < batch[0].size(0) && rows.size() < kShownFrames; ++row)
                      rows.push_back({batch[0][row], batch[1][row], said[row]});
                  });
  const uint64_t hash = hash_of(trainer, *model.module);
  if (!tells) return;
  std::printf("weights %016lx\n", hash);
  of_baseline.print("baseline");
  of_model.print("model");
  if (!picture.empty()) write_picture(picture, rows);
}

}  // namespace

int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [&](shoal::World& world) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    const std::string verb = words.empty() ? "" : words[0];
    if (verb == "import" && words.size() == 3) {
      if (world.rank() == 0)
        std::printf("%ld frames\n", static_cast<long>(import_frames(words[1], words[2])));
    } else if (verb == "train" && words.size() >= 4 && words.size() <= 5 && std::atol(words[3].c_str()) > 0) {
      train(world, words[1], words[2], std::atol(words[3].c_str()), words.size() > 4 ? words[4] : "");
    } else {
      throw shoal::InputError(
          "program - arguments: want import FRAMES STORE, or train STORE LAYOUT STEPS [PICTURE.png]");
    }
  });
}
