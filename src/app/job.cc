#include "app/job.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "app/metrics.h"
#include "app/recipe_model.h"
#include "app/report.h"
#include "app/resume.h"
#include "app/run_folder.h"
#include "app/samples.h"
#include "app/start_from.h"
#include "app/trace.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "formats/hf_tokenizer.h"
#include "shoal/error.h"
#include "shoal/trainer.h"
#include "state/checkpoint.h"

namespace shoal::app {
namespace {

namespace fs = std::filesystem;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Everyone's value, by rank. Plain bytes.
template <class T>
std::vector<T> gather(comm::Group& group, const T& mine) {
  std::vector<T> all(static_cast<size_t>(group.size()));
  comm::all_gather(group, std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  return all;
}

class Job {
 public:
  Job(World& world, const Recipe& recipe, const JobOptions& options, Progress& progress)
      : world_(world),
        group_(world.communicator()),
        recipe_(recipe),
        options_(options),
        progress_(progress),
        samples_(open_samples(recipe)),
        rows_(recipe.microbatch_samples()),
        validation_batches_(std::min(recipe.validation.samples, samples_.num_validation) / rows_),
        last_step_(options.until > 0 ? options.until : recipe.train.steps),
        trainer_(world, first_model(), traced(trainer_options(recipe))) {}

  void run() {
    prepare();
    const double start = now_seconds();
    while (trainer_.steps_done() < last_step_) {
      step();
      const int64_t done = trainer_.steps_done();
      const bool is_last = done == last_step_;
      if (!stops_ && (is_last || is_multiple(done, recipe_.validation.every))) validate();
      record();
      if (is_last || stops_ || is_multiple(done, recipe_.checkpoint.every)) save();
      if (stops_ && !is_last) throw JobError(cat("stopped at step ", done));
    }
    finish(now_seconds() - start);
  }

 private:
  static bool is_multiple(int64_t step, int64_t every) { return every > 0 && step % every == 0; }
  bool leads() const { return world_.rank() == 0; }
  fs::path checkpoints() const { return options_.out / "checkpoints"; }

  // A run too short to warm up is traced at its end.
  TrainerOptions traced(TrainerOptions options) const {
    if (options_.trace.empty()) return options;
    const int64_t done = options_.resume ? state::Checkpoint(*options_.resume).contents().step : 0;
    options.trace.file = options_.trace;
    options.trace.skip = std::clamp<int64_t>(last_step_ - done - 1, 0, options.trace.skip);
    return options;
  }

  TrainingModel first_model() const {
    return options_.from && !options_.resume ? make_model(network_from(recipe_, *options_.from)) : make_model(recipe_);
  }

  Batch microbatch(int64_t index) const {
    return samples_.training(trainer_.samples_done() + index * rows_, rows_);
  }

  void prepare() {
    trainer_.set_note("recipe", recipe_note(recipe_).dump());
    trainer_.set_note("data", nlohmann::json(samples_.identity).dump());
    if (options_.from) begin_with(*options_.from);
    trainer_.prepare(microbatch(0));
    if (options_.resume) {
      check_same_recipe(recipe_, samples_, state::Checkpoint(*options_.resume));
      trainer_.load(*options_.resume);
    }
    first_step_ = trainer_.steps_done();
    if (options_.profile) trainer_.profile(true);
    if (!leads()) return;
    metrics_.emplace(options_.out / "metrics.jsonl", first_step_);
    write_file(options_.out / "recipe.toml", recipe_text(recipe_));
    write_file(options_.out / "plan.txt", trainer_.plan());
    progress_.say(opening_text(recipe_, samples_,
                               {.out = options_.out,
                                .num_parameters = trainer_.num_parameters(),
                                .steps_done = first_step_,
                                .validation_samples = validation_batches_ * rows_,
                                .devices = world_.size()}));
  }

  void begin_with(const fs::path& model) {
    trainer_.set_note("from", nlohmann::json(model.string()).dump());
    const formats::KeptTokenizer tokenizer = formats::kept_tokenizer(*formats::open_model(model), model);
    if (tokenizer.hash.empty()) return;
    trainer_.set_note("tokenizer", nlohmann::json(tokenizer.hash).dump());
    if (!leads()) return;
    const fs::path folder = options_.out / formats::kTokenizerFolder;
    make_folder(folder);
    for (const auto& [name, text] : tokenizer.files) write_file(folder / name, text);
  }

  void step() {
    const double start = now_seconds();
    const StepResult result = trainer_.step([this](int64_t index) { return microbatch(index); });
    stops_ = result.stop_requested;
    const double seconds = now_seconds() - start;
    const double tokens = static_cast<double>(result.samples * samples_.tokens_per_sample);
    line_ = {.step = trainer_.steps_done(),
             .loss = result.loss,
             .grad_norm = result.grad_norm,
             .lr = result.lr,
             .tokens_per_second = tokens / seconds,
             .step_seconds = seconds,
             .peak_bytes = gather(group_, peak_bytes()),
             .validation_loss = {}};
    if (!first_loss_) first_loss_ = result.loss;
    // The first step captures and fills caches; later ones smooth each other.
    const bool is_young = trainer_.steps_done() <= first_step_ + 2;
    usual_seconds_ = is_young ? seconds : 0.9 * usual_seconds_ + 0.1 * seconds;
    for (const auto part :
         {&StepResult::Seconds::total, &StepResult::Seconds::compute, &StepResult::Seconds::reduce,
          &StepResult::Seconds::update, &StepResult::Seconds::gather, &StepResult::Seconds::wait})
      seconds_.*part += result.seconds.*part;
  }

  void validate() {
    if (validation_batches_ == 0) return;
    validation_loss_ = trainer_.evaluate(validation_batches_,
                                         [this](int64_t i) { return samples_.validation(i * rows_, rows_); });
    line_.validation_loss = validation_loss_;
  }

  void record() {
    if (!leads()) return;
    metrics_->add(line_);
    const int64_t steps = recipe_.train.steps;
    progress_.show({.step = line_.step,
                    .steps = steps,
                    .loss = line_.loss,
                    .validation_loss = validation_loss_,
                    .tokens_per_second = line_.tokens_per_second * line_.step_seconds / usual_seconds_,
                    .seconds_left = static_cast<double>(steps - line_.step) * usual_seconds_,
                    .peak_bytes = line_.peak_bytes},
                   samples_.unit, now_seconds());
  }

  void save() {
    const fs::path folder = checkpoints() / cat("step-", trainer_.steps_done());
    trainer_.save(folder);
    if (leads()) state::prune(checkpoints(), static_cast<int>(recipe_.checkpoint.keep));
  }

  void finish(double seconds) {
    const std::vector<StepResult::Seconds> by_device = gather(group_, seconds_);
    if (!leads()) return;
    const fs::path checkpoint = checkpoints() / cat("step-", trainer_.steps_done());
    if (options_.profile) progress_.say(profile_text(by_device, trainer_.seconds_by_operator()));
    if (!options_.trace.empty())
      progress_.say(traced_text(options_.trace, options_.program) + trace_text(read_trace(options_.trace)));
    progress_.say(closing_text(recipe_, samples_,
                               {.steps_done = trainer_.steps_done(),
                                .steps_here = trainer_.steps_done() - first_step_,
                                .seconds = seconds,
                                .first_loss = first_loss_,
                                .last_loss = line_.loss,
                                .validation_loss = validation_loss_,
                                .out = options_.out,
                                .checkpoint = checkpoint,
                                .content_hash = state::content_hash(checkpoint),
                                .program = options_.program,
                                .resume_command = options_.resume_command}));
  }

  World& world_;
  comm::Group group_;
  const Recipe& recipe_;
  const JobOptions& options_;
  Progress& progress_;
  const Samples samples_;
  const int64_t rows_;  // samples of a microbatch
  const int64_t validation_batches_;
  const int64_t last_step_;
  Trainer trainer_;
  std::optional<MetricsFile> metrics_;  // rank 0
  int64_t first_step_ = 0;
  Metrics line_;
  bool stops_ = false;
  std::optional<float> first_loss_;
  std::optional<double> validation_loss_;
  double usual_seconds_ = 0;
  StepResult::Seconds seconds_;
};

}  // namespace

void run_job(World& world, const Recipe& recipe, const JobOptions& options, Progress& progress) {
  Job(world, recipe, options, progress).run();
}

}  // namespace shoal::app
