#include "equivalence/pairs.h"

#include <torch/torch.h>

#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "base/text.h"
#include "shoal/shoal.h"
#include "state/checkpoint.h"
#include "support/eager_loop.h"

namespace shoal::test {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMicrobatches = 4, kRows = 3, kInputs = 24, kOutputs = 8;
// For each trainer, the letters of its calls: step, evaluate, save, load, end.
constexpr const char* kCalls[] = {"Aaslx", "Bbtmy"};

struct NetImpl : torch::nn::Module {
  NetImpl(int64_t width, double dropout)
      : up(register_module("up", torch::nn::Linear(kInputs, width))),
        middle(register_module("middle", torch::nn::Linear(width, width))),
        drop(register_module("drop", torch::nn::Dropout(dropout))),
        down(register_module("down", torch::nn::Linear(width, kOutputs))) {}
  torch::Tensor forward(const torch::Tensor& x) { return down(drop(torch::relu(middle(torch::relu(up(x)))))); }
  torch::nn::Linear up, middle;
  torch::nn::Dropout drop;
  torch::nn::Linear down;
};
TORCH_MODULE(Net);

// Not all devices are as fast: who waits for nobody reads what is not there yet.
Batch batch_of(const World& world, int64_t step, int64_t microbatch) {
  if ((world.rank() + step) % 2 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const auto tokens = random_tokens(step, microbatch, kRows, kInputs, 1000);
  return {tokens[0].to(torch::kFloat) / 500.0 - 1.0, tokens[1].select(1, 0).remainder(kOutputs)};
}

class Trained {
 public:
  Trained(World& world, const Layout& layout, int number, const fs::path& folder)
      : world_(world),
        number_(number),
        folder_(folder / std::to_string(number)),
        trainer_(std::in_place, world, describe([number] { return Net(number == 0 ? 304 : 176, 0.1); }),
                 [](Net& net, const Batch& batch) { return torch::cross_entropy_loss(net(batch[0]), batch[1]); },
                 TrainerOptions{.optimizer = AdamW{.lr = 3e-3},
                                .microbatches = kMicrobatches,
                                .seed = static_cast<uint64_t>(number + 11),
                                .clip_norm = 0.5,
                                .tensor_chunks = 4,
                                .layout = layout}) {}

  void call(char letter) {
    const size_t which = std::string_view(kCalls[number_]).find(letter);
    if (which == 0) {
      const int64_t step = trainer_->steps_done();
      note(trainer_->step([&](int64_t m) { return batch_of(world_, step, m); }).loss);
    }
    if (which == 1)
      note(static_cast<float>(trainer_->evaluate(3, [&](int64_t i) { return batch_of(world_, 1000, i); })));
    if (which == 2) trainer_->save(folder_ / "half");
    if (which == 3) trainer_->load(folder_ / "half");
    if (which == 4) {
      trainer_->save(folder_ / "end");
      trainer_.reset();
      if (world_.rank() == 0) bits_ += state::content_hash(folder_ / "end");
    }
  }
  const std::string& bits() const { return bits_; }

 private:
  void note(float loss) {
    uint32_t bits;
    std::memcpy(&bits, &loss, sizeof bits);
    char text[10];
    std::snprintf(text, sizeof text, "%08x ", bits);
    bits_ += text;
  }

  World& world_;
  const int number_;
  const fs::path folder_;
  std::optional<Trainer> trainer_;
  std::string bits_;
};

}  // namespace

std::string Pair::name() const { return cat(print(layouts[0]), " beside ", print(layouts[1]), ": ", script); }

std::vector<Pair> all_pairs() {
  const Layout dp2{.dp = 2}, tp2{.tp = 2}, zero2{.dp = 2, .zero = 2}, zero3{.dp = 2, .zero = 3},
      served{.dp = 1, .servers = 1};
  const Layout square2{.dp = 2, .tp = 2, .zero = 2}, square3{.dp = 2, .tp = 2, .zero = 3}, tp4{.tp = 4},
      wide3{.dp = 4, .zero = 3}, served3{.dp = 3, .servers = 1}, wide0{.dp = 4, .zero = 0};
  const std::pair<Layout, Layout> beside[] = {
      {dp2, dp2},         {tp2, tp2},         {zero2, zero2},   {zero3, zero3},     {tp2, zero3},
      {zero2, served},    {zero3, zero2},     {square3, square3}, {square2, wide3}, {tp4, square3},
      {served3, square2}, {wide0, tp4},
  };
  // Turn by turn, two to one, one evaluated, saved and loaded between the other's steps, and one that ends
  // while the other goes on.
  std::vector<Pair> pairs;
  for (const auto& [first, second] : beside) {
    const bool even = pairs.size() % 2 == 0;
    pairs.push_back({{first, second},
                     even ? "ABAB AABAAB aBbAb AsBBlABtA xBBmBy" : "BAAB BBABBA bAaBa BtAAmABsB yAAlAx"});
  }
  return pairs;
}

Pair alone(Pair pair, int kept) {
  std::erase_if(pair.script,
                [&](char letter) { return std::string_view(kCalls[kept]).find(letter) == std::string::npos; });
  return pair;
}

PairBits run_pair(World& world, const Pair& pair, const fs::path& folder) {
  std::optional<Trained> trained[2];
  for (const char letter : pair.script)
    for (int number : {0, 1}) {
      if (std::string_view(kCalls[number]).find(letter) == std::string::npos) continue;
      if (!trained[number]) trained[number].emplace(world, pair.layouts[number], number, folder);
      trained[number]->call(letter);
    }
  PairBits bits;
  for (int number : {0, 1})
    if (trained[number]) bits.bits[number] = trained[number]->bits();
  return bits;
}

}  // namespace shoal::test
