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

/// Of all pairs of changes of the same two bases, the part in which the first is below the second; a half: no
/// telling apart. Unlike bases would tell much by themselves: what makes a stop makes an A or a T.
double part_below(const Kind& first, const Kind& second, const Answers& answers) {
  const auto ratios = first.ratios(answers), others = second.ratios(answers);
  double below = 0, pairs = 0;
  for (size_t i = 0; i < ratios.size(); ++i)
    for (size_t j = 0; j < others.size(); ++j)
      if (first.variants[i].name == second.variants[j].name) {
        below += ratios[i] < others[j] ? 1 : ratios[i] == others[j] ? 0.5 : 0;
        pairs += 1;
      }
  return pairs == 0 ? 0.5 : below / pairs;
}

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
  auto by_effect = held_out_substitutions(genome, genes);
  for (const char* effect : {"stop", "same", "other"})
    kinds.push_back({effect, some_of(by_effect[effect], number)});
  kinds.push_back({"reads", some_of(variants_of_reads(genome, counts), number)});
  kinds.push_back({"known", known_variants()});
  for (Kind& kind : kinds)
    std::erase_if(kind.variants, [&](const Variant& v) { return !can_ask(genome, v); });
  return kinds;
}

void print_variants(const std::vector<Kind>& kinds, const Answers& model, const Answers& markov) {
  std::printf("substitutions: log2 of the ratio of likelihoods, of the model and of the best Markov\n");
  std::map<std::string, const Kind*> by_name;
  for (const Kind& kind : kinds) {
    by_name[kind.name] = &kind;
    if (kind.name != "known" && !kind.variants.empty())
      std::printf("  %-5s %4zu  %7.3f %7.3f\n", kind.name.c_str(), kind.variants.size(),
                  mean(kind.ratios(model)), mean(kind.ratios(markov)));
  }
  for (const char* name : {"same", "other"})
    std::printf("  stop below %-5s  in %.3f %.3f of the pairs of alike bases\n", name,
                part_below(*by_name["stop"], *by_name[name], model),
                part_below(*by_name["stop"], *by_name[name], markov));
  const Kind& known = *by_name["known"];
  const auto of_model = known.ratios(model), of_markov = known.ratios(markov),
             others = by_name["other"]->ratios(model);
  for (size_t i = 0; i < known.variants.size(); ++i) {
    const auto above =
        std::count_if(others.begin(), others.end(), [&](double ratio) { return ratio > of_model[i]; });
    std::printf("  %-14s %7.3f %7.3f  less likely than %.2f of \"other\"%s\n", known.variants[i].name.c_str(),
                of_model[i], of_markov[i], static_cast<double>(above) / static_cast<double>(others.size()),
                is_held_out(known.variants[i].position) ? "" : ", trained on");
  }
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
    std::printf("  markov %d  %.4f\n", order, bits_per_base(genome, questions, markov));
    if (best.empty() || bits_per_base(genome, questions, markov) < bits_per_base(genome, questions, best))
      best = std::move(markov);
  }
  auto of_best = totals_by(kBlock, genome, questions, best);
  const auto of_model = totals_by(kBlock, genome, questions, answers);
  const auto better = std::count_if(of_model.begin(), of_model.end(), [&](const auto& block) {
    return block.second.per_base() < of_best[block.first].per_base();
  });
  std::printf("  model     %.4f  less than the best of them in %ld of %zu blocks\n",
              bits_per_base(genome, questions, answers), static_cast<long>(better), of_model.size());
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
