#include "equivalence/cells.h"

#include <torch/torch.h>

#include <cstring>
#include <fstream>

#include "base/text.h"
#include "comm/group.h"
#include "lower/program.h"
#include "models/gpt.h"
#include "models/llama.h"
#include "models/mlp.h"
#include "models/resnet.h"
#include "shoal/shoal.h"
#include "state/checkpoint.h"
#include "support/eager_loop.h"
#include "support/unet.h"

namespace shoal::test {
namespace {

namespace fs = std::filesystem;

// Large enough that parameters span several blocks, so that shares of one parameter have several owners.
const models::GptConfig kGpt{
    .vocabulary = 1031, .layers = 2, .width = 64, .heads = 4, .context = 12, .dropout = 0.1};
const models::LlamaConfig kLlama{.vocabulary = 1031, .layers = 2, .width = 64, .heads = 4, .kv_heads = 2};
const models::MlpConfig kMlp{.inputs = 24, .width = 301, .layers = 2, .outputs = 7, .dropout = 0.1};
const models::ResnetConfig kResnet{.stages = 2, .layers = 1, .width = 8, .outputs = 7};
// The same with sizes that come apart in four. What does not (kResnet's 3 colours) stays whole.
const models::GptConfig kGptIn4{
    .vocabulary = 1032, .layers = 2, .width = 64, .heads = 4, .context = 12, .dropout = 0.1};
const models::LlamaConfig kLlamaIn4{.vocabulary = 1032, .layers = 2, .width = 64, .heads = 8, .kv_heads = 4};
const models::LlamaConfig kLlamaKv2{.vocabulary = 1032, .layers = 2, .width = 64, .heads = 8, .kv_heads = 2};
const models::MlpConfig kMlpIn4{.inputs = 24, .width = 304, .layers = 2, .outputs = 8, .dropout = 0.1};
const models::ResnetConfig kResnetIn4{.stages = 2, .layers = 1, .width = 8, .outputs = 8};
constexpr int64_t kSamples = 2;  // in a microbatch
constexpr int64_t kEnd = 6;      // of documents

Batch batch_of(const Cell& cell, int64_t step, int64_t microbatch) {
  if (cell.model == Model::kResnet) {
    const auto tokens = random_tokens(step, microbatch, kSamples, 3 * 8 * 6, 1000);
    return {(tokens[0].to(torch::kFloat) / 500.0 - 1.0).view({kSamples, 3, 8, 6}),
            tokens[1].select(1, 0).remainder(kResnet.outputs)};
  }
  if (cell.model == Model::kUnet) {
    const auto tokens = random_tokens(step, microbatch, kSamples, 3 * 8 * 8, 1000);
    return {(tokens[0].to(torch::kFloat) / 500.0 - 1.0).view({kSamples, 3, 8, 8}),
            tokens[1].slice(1, 0, 64).remainder(5).view({kSamples, 8, 8})};
  }
  if (cell.model == Model::kGptOfDocuments) {  // of three or so tokens each
    const auto batch = random_tokens(step, microbatch, kSamples, kGpt.context, kGpt.vocabulary);
    return {batch[0].masked_fill(batch[0].remainder(3).eq(0), kEnd), batch[1]};
  }
  if (cell.model != Model::kMlp)
    return random_tokens(step, microbatch, kSamples, kGpt.context, kGpt.vocabulary);
  const auto tokens = random_tokens(step, microbatch, kSamples, kMlp.inputs, 1000);
  return {tokens[0].to(torch::kFloat) / 500.0 - 1.0, tokens[1].select(1, 0).remainder(kMlp.outputs)};
}

Trainer make_trainer(World& world, const Cell& cell, const Layout& layout) {
  const TrainerOptions options{.optimizer = AdamW{.lr = 3e-3, .weight_decay = 0.1},
                               .microbatches = cell.microbatches,
                               .seed = 11,
                               .precision = cell.bf16 ? Precision::kBF16 : Precision::kFP32,
                               .clip_norm = 0.5,
                               .schedule = {.warmup_steps = 3, .total_steps = kSteps},
                               .tensor_chunks = cell.chunks,
                               .layout = layout};
  const auto loss = [](auto& model, const Batch& batch) {
    const torch::Tensor logits = model(batch[0]);
    return torch::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch[1].view({-1}));
  };
  if (cell.model == Model::kUnet)
    return Trainer(world, describe([] { return Unet(); }),
                   [](Unet& model, const Batch& batch) { return torch::cross_entropy_loss(model(batch[0]), batch[1]); },
                   options);
  const bool cut = cell.chunks > 1;
  if (cell.model == Model::kMlp)
    return Trainer(world, describe([&] { return models::Mlp(cut ? kMlpIn4 : kMlp); }), loss, options);
  if (cell.model == Model::kResnet)
    return Trainer(world, describe([&] { return models::Resnet(cut ? kResnetIn4 : kResnet); }), loss,
                   options);
  if (cell.model == Model::kLlama)
    return Trainer(world, describe([&] { return models::Llama(cut ? kLlamaIn4 : kLlama); }), loss, options);
  if (cell.model == Model::kLlamaKv2)
    return Trainer(world, describe([] { return models::Llama(kLlamaKv2); }), loss, options);
  models::GptConfig config = cut ? kGptIn4 : kGpt;
  config.tied_head = cell.model == Model::kTiedGpt;
  if (cell.model == Model::kGptOfDocuments) config.end_of_document = kEnd;
  return Trainer(world, describe([&] { return models::Gpt(config); }), loss, options);
}

std::string bits_of(float loss) {
  uint32_t bits;
  std::memcpy(&bits, &loss, sizeof bits);
  char text[9];
  std::snprintf(text, sizeof text, "%08x", bits);
  return text;
}

}  // namespace

std::string Cell::name() const {
  const char* models[] = {"mlp", "gpt", "gpt-tied", "llama", "resnet", "llama-kv2", "unet", "gpt-documents"};
  return cat(models[static_cast<int>(model)], bf16 ? " bf16" : " fp32", " M=", microbatches, " C=", chunks);
}

bool suits(const Layout& layout, const Cell& cell) {
  // What two stages share is summed over them with zero < 2.
  const bool shares = cell.model == Model::kTiedGpt && layout.pp > 1 && layout.zero >= 2 && layout.servers == 0;
  const bool has_places = cell.model != Model::kMlp || layout.stages() <= 3;  // three layers
  return cell.microbatches >= layout.dp && cell.chunks % layout.tp == 0 && !shares && has_places;
}

std::vector<Cell> all_cells() {
  std::vector<Cell> cells;
  for (Model model : {Model::kMlp, Model::kGpt, Model::kTiedGpt, Model::kLlama, Model::kResnet, Model::kUnet})
    for (bool bf16 : {false, true})
      for (const auto& [microbatches, chunks] : {std::pair{8, 1}, {6, 1}, {4, 1}, {4, 4}})
        cells.push_back({model, bf16, microbatches, chunks});
  for (bool bf16 : {false, true}) cells.push_back({Model::kLlamaKv2, bf16, 4, 4});
  for (const auto& [microbatches, chunks] : {std::pair{6, 1}, {4, 4}})
    cells.push_back({Model::kGptOfDocuments, chunks == 4, microbatches, chunks});
  return cells;
}

std::string name_of(const Layout& layout) {
  return cat(print(layout), layout.servers == 0 && layout.zero == 1 ? ",zero=1" : "");
}

// What a device has is what its Program said that it would have, within 2 %.
void check_memory(const Trainer& trainer) {
  const Trainer::Memory got = trainer.memory(), want = trainer.planned_memory();
  const auto check = [](const char* kind, int64_t measured, int64_t planned) {
    if (std::abs(measured - planned) * 50 > planned)
      throw JobError(cat("memory - ", kind, ": measured ", measured, " bytes, the Program says ", planned));
  };
  check("weights", got.weights, want.weights);
  check("gradients", got.gradients, want.gradients);
  check("optimizer", got.optimizer, want.optimizer);
  check("activations", got.activations, want.activations);
  check("buffers", got.buffers, want.buffers);
  check("windows", got.windows, want.windows);
}

void check_program_text(const Trainer& trainer) {
  const std::string plan = trainer.plan(), text = plan.substr(0, plan.find("memory of this device"));
  const lower::Program program = lower::parse_program(text);
  if (lower::print(program) != text || !(lower::parse_program(lower::print(program)) == program))
    throw JobError("program - text: it does not read back to the same");
}

CellResult run_cell(World& world, const Cell& cell, const Layout& layout, const fs::path& folder,
                    const fs::path& resume_from) {
  CellResult result;
  std::string first_half;
  {
    Trainer trainer = make_trainer(world, cell, layout);
    for (int64_t step = 0; step < kSteps; ++step) {
      const StepResult r = trainer.step([&](int64_t m) { return batch_of(cell, step, m); });
      result.whole.losses += bits_of(r.loss);
      if (step + 1 == kHalf) {
        check_memory(trainer);
        check_program_text(trainer);
        const double loss = trainer.evaluate(3, [&](int64_t i) { return batch_of(cell, 1000, i); });
        result.whole.losses += cat("(", bits_of(static_cast<float>(loss)), ")");
        first_half = result.whole.losses;
        trainer.save(folder / "half");
      }
    }
    trainer.save(folder / "end");
  }
  if (!resume_from.empty()) {
    Trainer trainer = make_trainer(world, cell, layout);
    trainer.prepare(batch_of(cell, 0, 0));
    trainer.load(resume_from);
    result.resumed.losses = first_half;
    while (trainer.steps_done() < kSteps) {
      const int64_t step = trainer.steps_done();
      result.resumed.losses += bits_of(trainer.step([&](int64_t m) { return batch_of(cell, step, m); }).loss);
    }
    trainer.save(folder / "resumed");
  }
  if (world.rank() == 0) {
    result.whole.hash = state::content_hash(folder / "end");
    if (!resume_from.empty()) result.resumed.hash = state::content_hash(folder / "resumed");
  }
  return result;
}

void run_cells(World& world, const std::vector<Cell>& cells, const Layout& layout, const fs::path& out,
               const fs::path& previous) {
  std::ofstream results;
  if (world.rank() == 0) {
    fs::create_directories(out);
    results.open(out / "results");
  }
  for (size_t i = 0; i < cells.size(); ++i) {
    if (!suits(layout, cells[i])) continue;
    const fs::path folder = out / std::to_string(i), half = previous / std::to_string(i) / "half";
    if (world.rank() == 0) fs::create_directories(folder);
    comm::Group(world.communicator()).barrier();
    const CellResult r =
        run_cell(world, cells[i], layout, folder, !previous.empty() && fs::exists(half) ? half : fs::path());
    if (world.rank() == 0)
      results << cells[i].name() << '|' << r.whole.losses << '|' << r.whole.hash << '|' << r.resumed.losses
              << '|' << r.resumed.hash << '\n';
  }
}

std::map<std::string, CellResult> read_results(const fs::path& out) {
  std::map<std::string, CellResult> results;
  std::ifstream file(out / "results");
  for (std::string line; std::getline(file, line);) {
    const auto parts = split(line, '|');
    results[parts.at(0)] = {{parts.at(1), parts.at(2)}, {parts.at(3), parts.at(4)}};
  }
  return results;
}

}  // namespace shoal::test
