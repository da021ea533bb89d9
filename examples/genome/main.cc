// From a phage's genome and reads of it to a language model of its bases, on any devices:
//   shoal run -n 2 program REFERENCE KMERS LAYOUT STEPS VARIANTS [PICTURE.svg]
// REFERENCE is a line of bases, KMERS a table of k-mers and counts (reference.toml and kmers.toml make them),
// VARIANTS how many substitutions of each kind are scored. Whatever the layout, losses, weights and numbers
// are the same, to the last bit.
#include <shoal/shoal.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "picture.h"

namespace {

constexpr int64_t kMicrobatches = 4, kMicrobatchWindows = 4;

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

void train(shoal::Trainer& trainer, const TrainingWindows& windows, int64_t steps, bool tells) {
  for (int64_t step = 0; step < steps; ++step) {
    const auto result = trainer.step([&](int64_t microbatch) {
      std::vector<Bases> chosen;
      for (int64_t w = 0; w < kMicrobatchWindows; ++w)
        chosen.push_back(windows((step * kMicrobatches + microbatch) * kMicrobatchWindows + w));
      return batch_of(chosen);
    });
    if (tells && (step % 50 == 0 || step + 1 == steps)) {
      std::printf("step %ld  loss %.6f\n", static_cast<long>(step), result.loss);
      std::fflush(stdout);
    }
    if (result.stop_requested) break;
  }
}

/// Variants of one kind, and where their windows begin.
struct Kind {
  std::string name;
  std::vector<Variant> variants;
  size_t first = 0;

  std::vector<double> ratios(const Answers& answers) const {
    std::vector<double> all;
    for (size_t i = 0; i < variants.size(); ++i) all.push_back(log_ratio(answers, first + 4 * i));
    return all;
  }
};

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// What is asked: "stop", "other" and "same" changes of held-out codons, the variants of the reads, the known
/// ones.
std::vector<Kind> kinds_of(const Genome& genome, const std::vector<Gene>& genes, const KmerCounts& counts,
                           size_t number) {
  std::vector<Kind> kinds;
  const auto by_effect = held_out_substitutions(genome, genes);
  for (const auto& [effect, all] : by_effect) kinds.push_back({effect, some_of(all, number)});
  kinds.push_back({"reads", some_of(variants_of_reads(genome, counts), number)});
  kinds.push_back({"known", known_variants()});
  for (Kind& kind : kinds)
    std::erase_if(kind.variants, [&](const Variant& v) { return !can_ask(genome, v); });
  return kinds;
}

void print_variants(const std::vector<Kind>& kinds, const Answers& model, const Answers& markov) {
  std::printf("substitutions: log2 of the ratio of likelihoods, model and Markov\n");
  std::map<std::string, std::array<std::vector<double>, 2>> ratios;
  for (const Kind& kind : kinds) {
    auto& both = ratios[kind.name];
    both = {kind.ratios(model), kind.ratios(markov)};
    if (kind.name != "known" && !kind.variants.empty())
      std::printf("  %-5s %4zu  %7.3f %7.3f\n", kind.name.c_str(), kind.variants.size(), mean(both[0]),
                  mean(both[1]));
  }
  if (ratios["stop"][0].empty() || ratios["same"][0].empty()) return;
  std::printf("a stop is less likely than a change that keeps the amino acid: %.3f %.3f of pairs\n",
              part_below(ratios["stop"][0], ratios["same"][0]),
              part_below(ratios["stop"][1], ratios["same"][1]));
  for (const Kind& kind : kinds)
    for (size_t i = 0; kind.name == "known" && i < kind.variants.size(); ++i)
      std::printf("  %-14s %7.3f %7.3f  less likely than %.2f of \"other\"%s\n",
                  kind.variants[i].name.c_str(), ratios["known"][0][i], ratios["known"][1][i],
                  part_below({ratios["known"][0][i]}, ratios["other"][0]),
                  is_held_out(kind.variants[i].position) ? "" : ", trained on");
}

void run(shoal::World& world, const std::vector<std::string>& words) {
  const Genome genome = read_genome(words[0]);
  const int64_t steps = std::atol(words[3].c_str());
  const auto training = spans_of(genome, false), held_out = spans_of(genome, true);
  const auto model = shoal::describe([] { return GenomeModel(); });
  const auto loss = [](GenomeModel& net, const shoal::Batch& batch) { return loss_of(net, batch); };
  shoal::TrainerOptions options{
      .optimizer = shoal::AdamW{.lr = 3e-3, .betas = {0.9, 0.98}, .weight_decay = 0.1},
      .microbatches = kMicrobatches,
      .clip_norm = 1,
      .schedule = {.warmup_steps = steps / 16, .total_steps = steps, .final_factor = 0},
      .tensor_chunks = 2};
  options.layout = shoal::parse_layout(words[2], "program - LAYOUT");
  shoal::Trainer trainer(world, model, loss, options);
  const bool tells = world.rank() == 0;
  train(trainer, TrainingWindows(genome, training), steps, tells);
  const uint64_t hash = hash_of(trainer, *model.module);
  if (tells) std::printf("weights %016lx\n", hash);

  // Every device asks the same questions; the first one gets the answers.
  const std::vector<Gene> genes = find_genes(genome);
  std::vector<Kind> kinds =
      kinds_of(genome, genes, KmerCounts(words[1]), static_cast<size_t>(std::atol(words[4].c_str())));
  Questions questions;
  ask_held_out(questions, genome, held_out);
  for (Kind& kind : kinds) {
    kind.first = questions.windows.size();
    for (const Variant& variant : kind.variants) ask_variant(questions, genome, variant);
  }
  Answers answers(questions.windows.size());
  for_each_window_bits(trainer, model.module, questions.windows, [&](size_t window, const float* bits) {
    answers[window].assign(bits, bits + kContext);
  });
  if (!tells) return;

  std::printf("held out: bits per base\n");
  Answers best;
  for (int order = 1; order <= 6; ++order) {
    Answers markov = answers_of(fit_markov(genome, training, order), questions);
    std::printf("  markov %d  %.4f\n", order, bits_per_base(questions, markov));
    if (best.empty() || bits_per_base(questions, markov) < bits_per_base(questions, best))
      best = std::move(markov);
  }
  std::printf("  model     %.4f\n", bits_per_base(questions, answers));
  print_variants(kinds, answers, best);
  if (words.size() > 5) write_picture(words[5], genome, genes, questions, answers, best);
}

}  // namespace

int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [&](shoal::World& world) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.size() < 5 || words.size() > 6 || std::atol(words[3].c_str()) < 1 ||
        std::atol(words[4].c_str()) < 1)
      throw shoal::InputError(
          "program - arguments: want REFERENCE KMERS LAYOUT STEPS VARIANTS [PICTURE.svg]");
    run(world, words);
  });
}
