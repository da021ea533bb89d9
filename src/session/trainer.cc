#include "shoal/trainer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "lower/memory.h"
#include "run/live_tensors.h"
#include "run/user_code.h"
#include "session/agreed_facts.h"
#include "session/evaluation.h"
#include "session/prediction.h"
#include "session/training.h"
#include "session/weights_checkpoint.h"
#include "shoal/error.h"

namespace shoal {
namespace {

comm::Fact fact_of(const std::filesystem::path& folder) {
  return {"the checkpoint", std::filesystem::absolute(folder).lexically_normal().string()};
}

}  // namespace

struct Trainer::Impl {
  Impl(World& world, TrainingModel model, TrainerOptions options)
      : session(world, std::move(model), std::move(options)) {
    // Other models of this World may compute with this one's tensors: their numbers are here.
    for (const capture::NamedTensor& named : session.tensors.all())
      world.live_tensors().add({this, named.name, named.tensor, [this, name = named.name] {
                                  return training.has_weights() ? training.weights().memory().current(name)
                                                                : at::Tensor();
                                }});
  }
  ~Impl() { session.world.live_tensors().remove(this); }

  // Where a failed load() left the weights of no step, nothing is to be had from them.
  void require_whole(const char* what) {
    if (training.has_weights()) training.weights().require_whole(what);
  }
  std::vector<comm::Fact> with_writes(std::vector<comm::Fact> facts) {
    session::add(facts, session.calls.together([&] { return training.writes(); }));
    return facts;
  }
  int64_t window_bytes() { return training.steps() ? training.steps()->window_bytes() : 0; }
  // Of all that is captured.
  template <class Use>
  void for_each_execution(const Use& use) {
    for (const session::Function* function : {&training.function(), &evaluation})
      for (const auto& captured : function->graphs()) use(captured->execution);
  }

  session::Session session;
  session::Training training{session};
  session::Function evaluation{session, session::Function::Of::kEvaluation};
};

Trainer::Trainer(World& world, TrainingModel model, TrainerOptions options)
    : impl_(std::make_unique<Impl>(world, std::move(model), std::move(options))) {}
Trainer::~Trainer() = default;

StepResult Trainer::step(const std::function<Batch(int64_t)>& microbatch) {
  const session::Session& session = impl_->session;
  impl_->require_whole("step");
  return session.calls.together([&] {
    return impl_->training.step([&](int64_t m) {
      return run::user_code(session.world.communicator(),
                            cat("step ", session.steps, ": microbatch ", m, " of the data function"),
                            [&] { return microbatch(m); });
    });
  });
}

StepResult Trainer::step(const Batch& global_batch) {
  const session::Session& session = impl_->session;
  impl_->require_whole("step");
  return session.calls.together([&] {
    session.calls.set_activity(cat("step ", session.steps));
    const int64_t microbatches = session.options.microbatches,
                  count = session::check_batch(global_batch, session.world.device());
    if (count % microbatches != 0)
      throw InputError(cat("batch - size: got ", count, " samples, want a multiple of ", microbatches,
                           " (microbatches)"));
    return impl_->training.step([&, each = count / microbatches](int64_t m) {
      Batch part;
      for (const at::Tensor& tensor : global_batch) part.push_back(tensor.narrow(0, m * each, each));
      return part;
    });
  });
}

void Trainer::prepare(const Batch& microbatch) {
  const session::Calls& calls = impl_->session.calls;
  calls.together([&] {
    const std::string place = calls.now("prepare");
    calls.set_activity(place);
    session::check_batch(microbatch, impl_->session.world.device());
    impl_->training.prepare(session::contiguous(microbatch), place, "prepare");
  });
}

double Trainer::evaluate(int64_t count, const std::function<Batch(int64_t)>& batch) {
  session::Session& session = impl_->session;
  session::Training& training = impl_->training;
  session.calls.alike([&] {
    session.calls.agree("evaluate", impl_->with_writes({{"number of batches", cat(count)}}));
    training.weights_for("evaluate");
    if (count < 1) throw InputError(cat("trainer - evaluate: got ", count, " batches, want 1 or more"));
  });
  return session.calls.together([&] {
    session.hold_settings();
    training.follow();
    return session::mean_loss(session, impl_->evaluation, training.weights(),
                            *training.steps(), count, batch);
  });
}

void Trainer::predict(const std::function<at::Tensor(const Batch&)>& forward, int64_t count,
                      const std::function<Batch(int64_t)>& batch,
                      const std::function<void(int64_t, const at::Tensor&)>& take) {
  session::Session& session = impl_->session;
  session::Training& training = impl_->training;
  session.calls.alike([&] {
    session.calls.agree("predict", impl_->with_writes({{"number of batches", cat(count)}}));
    training.weights_for("predict");
    if (count < 1) throw InputError(cat("trainer - predict: got ", count, " batches, want 1 or more"));
  });
  session.calls.together([&] {
    session.hold_settings();
    training.follow();
    session::Function prediction(session, session::Function::Of::kEvaluation, forward);
    session::predict(session, prediction, training.weights(), *training.steps(), count, batch, take);
  });
}

void Trainer::save(const std::filesystem::path& folder) {
  session::Session& session = impl_->session;
  session::Training& training = impl_->training;
  session.calls.alike([&] {
    std::vector<comm::Fact> facts = {fact_of(folder)};
    for (const auto& [key, note] : session.notes.items()) facts.push_back({cat("note ", key), note.dump()});
    session.calls.agree("save", impl_->with_writes(std::move(facts)));
    session::Weights& weights = training.weights_for("save");
    training.follow();
    session::save_weights(session, weights, folder);
  });
}

void Trainer::load(const std::filesystem::path& folder) {
  session::Session& session = impl_->session;
  session::Training& training = impl_->training;
  session.calls.alike([&] {
    const bool is_half_loaded = training.has_weights() && training.weights().is_half_loaded();
    std::vector<comm::Fact> facts = {fact_of(folder)};
    if (training.has_weights() && !is_half_loaded) facts = impl_->with_writes(std::move(facts));
    // After it nobody reads the old weights any more.
    session.calls.agree("load", std::move(facts));
    if (!is_half_loaded) {
      training.weights_for("load");
      training.follow();  // what the user wrote comes before, and is written over
    }
    session::Weights& weights = training.weights();
    if (weights.link()) weights.link()->withhold();
    session::load_weights(session, weights, folder);
  });
}

int64_t Trainer::steps_done() const { return impl_->session.steps; }
int64_t Trainer::samples_done() const { return impl_->session.samples; }

int64_t Trainer::num_parameters() const {
  int64_t count = 0;
  for (const capture::NamedTensor& named : impl_->session.tensors.parameters) count += named.tensor.numel();
  return count;
}

at::Tensor Trainer::parameter(const std::string& name) const {
  return impl_->training.weights_for("parameter").parameter(name);
}

void Trainer::update_module() {
  session::Session& session = impl_->session;
  session::Training& training = impl_->training;
  session::Weights& weights = training.weights_for("update_module");
  if (!weights.link())
    throw InputError(
        "trainer - update_module: the model was described, so its module has no memory; read its numbers with "
        "parameter(name), or save them with save(folder)");
  session.calls.together([&] {
    session.calls.agree("update_module", training.writes());
    training.follow();
    weights.link()->update();
  });
}

void Trainer::set_note(const std::string& key, const std::string& json_text) {
  impl_->session.notes[key] = nlohmann::json::parse(json_text);
}

std::string Trainer::plan() const {
  session::Weights& weights = impl_->training.weights_for("plan");
  std::string text;
  for (const auto& captured : impl_->training.function().graphs())
    text += cat(lower::print(captured->execution.program), "memory of this device: ",
                lower::print(lower::memory_of(captured->execution.program)), "\n\n");
  return cat(text, weights.print());
}

Trainer::Memory Trainer::memory() const {
  session::Weights& weights = impl_->training.weights_for("memory");
  const run::DeviceMemory& memory = weights.memory();
  Memory measured{.weights = memory.weight_bytes(),
                  .gradients = memory.gradient_bytes(),
                  .optimizer = weights.optimizer().bytes(),
                  .buffers = memory.module_bytes(),
                  .windows = memory.board_bytes() + impl_->window_bytes()};
  impl_->for_each_execution([&](const run::Execution& each) {
    measured.activations += each.frame_bytes();
    measured.windows += each.transfers.window_bytes();
  });
  return measured;
}

// Each graph has frames and transfers of its own; the rest is there once.
Trainer::Memory Trainer::planned_memory() const {
  impl_->training.weights_for("planned_memory");
  Memory planned;
  int64_t transfers = 0;
  impl_->for_each_execution([&](const run::Execution& each) {
    const Memory one = lower::memory_of(each.program);
    const int64_t sends = lower::transfer_bytes(each.program);
    transfers += sends;
    planned = {.weights = std::max(planned.weights, one.weights),
               .gradients = std::max(planned.gradients, one.gradients),
               .optimizer = std::max(planned.optimizer, one.optimizer),
               .activations = planned.activations + one.activations,
               .buffers = std::max(planned.buffers, one.buffers),
               .windows = std::max(planned.windows, one.windows - sends)};
  });
  planned.windows += transfers;
  return planned;
}

void Trainer::profile(bool on) { impl_->training.function().profile(on); }

std::map<std::string, double> Trainer::seconds_by_operator() const {
  return impl_->training.function().seconds_by_operator();
}

}  // namespace shoal
