// Trains an unchanged model on the devices of a World.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "shoal/layout.h"
#include "shoal/memory.h"
#include "shoal/model.h"
#include "shoal/optimizer.h"
#include "shoal/world.h"

namespace shoal {

/// When each instruction of a few steps ran on every device, and when and for whom it waited, in a file that
/// ui.perfetto.dev opens and `shoal trace` draws (docs/commands.md, "shoal trace"). The devices are processes of one
/// machine, whose monotonic clock is one. Costs nothing where no file is named; the bits of the run are the same.
struct TraceOptions {
  std::filesystem::path file = {};  // none: no trace. The first device writes it, anew after each traced step
  int64_t skip = 2;                 // steps of the Trainer before the first that is traced; two capture and warm up
  int64_t count = 4;                // steps that are traced
};

struct TrainerOptions {
  // --- The run: what decides its bits (docs/numerics.md). None of it depends on the devices. ---
  Optimizer optimizer = AdamW{};
  int64_t microbatches = 1;  // pieces of the global batch; at least dp of the layout
  uint64_t seed = 1;         // of the initial weights and of what forward draws (dropout, randn...)
  Precision precision = Precision::kFP32;
  double clip_norm = 0;  // of the global gradient; 0: no clipping
  LearningRateSchedule schedule = {};
  int64_t tensor_chunks = 1;  // slices that operators are cut into; tp divides it
  int threads = 1;            // compute threads of each device

  // --- Where it runs: no bit depends on it. ---
  std::optional<Layout> layout = {};  // none: every device takes its share of the microbatches
  std::vector<std::string> stages = {};  // with pp: the parameters at which stages 1, 2, ... begin; none: balanced
  std::string grid = {};  // with pp: the order of the passes, as `shoal plan` prints it (docs/pipelines.md, "A schedule
                          // of your own"); empty: the layout's schedule
  std::string offload = {};  // a folder: each device keeps its optimizer state in a file there (docs/layouts.md); empty:
                             // in memory
  TraceOptions trace = {};
};

/// What one step did. The same on every device, but for `bytes_read` and `seconds`.
struct StepResult {
  int64_t step = 0;      // 0-based
  float loss = 0;        // mean over the microbatches, before the update
  double grad_norm = 0;  // before clipping
  double lr = 0;
  int64_t samples = 0;          // in this step's global batch
  bool stop_requested = false;  // Ctrl-C or SIGTERM reached a device: save and end
  struct BytesRead {
    int64_t gradients = 0, weights = 0, boards = 0;
    int64_t activations = 0;  // with tp: of values that its devices exchange inside a microbatch
  } bytes_read;               // of the other devices' memory by this one, in this step (docs/layouts.md)
  struct Seconds {
    double total = 0, compute = 0, reduce = 0, update = 0, gather = 0, wait = 0;
  } seconds;  // of this device
};

/// step, prepare, evaluate, predict, save, load and update_module are collective: every device makes them in the same order with the
/// same arguments. Each begins with an agreement (docs/comm.md), so that devices in unlike calls, or with
/// another model, other options or other first weights, throw InputError, all of them alike, naming what
/// differs. The other calls are the device's own. Belongs to the World's thread.
///
/// Throws InputError for a model, batch or checkpoint that cannot be used, JobError when the work fails;
/// weights are then those of the last finished step, on every device. What a function of the user throws
/// (data, loss) leaves as one of the two, with the rank, the step and what was being done in its sentence,
/// the original nested in it (std::rethrow_if_nested). What stops step(), prepare() or evaluate() on one of
/// several devices ends the job for all of them, since they wait for it; a gradient or a loss that is not
/// finite is an error on all devices alike, after which they may go on.
///
/// The module stays the user's. Its submodules train in the modes that their flags say at each step. From the
/// first step (or prepare) on the numbers of a built module are the trainer's: the module shows them
/// (update_module() says where not), and what is written to it between steps (load, clamp_, init, an eager
/// optimizer) is what training goes on with, given that every device writes the same. What is trained cannot
/// change: other tensors, shapes or requires_grad than at first are an InputError at the next call. Gradients
/// do not appear in p.grad(). A module that another trainer trains too is trained by both in turns.
class Trainer {
 public:
  Trainer(World&, TrainingModel, TrainerOptions);
  template <class Model, class Loss>
  Trainer(World& world, const Model& model, Loss loss, TrainerOptions options = {})
      : Trainer(world, with_loss(model, loss), options) {}
  ~Trainer();

  /// One step on the global batch; its first dim is a multiple of `microbatches`. It must be the same on
  /// every device, of which only the shapes are looked at: each computes its own microbatches of what it was
  /// given. check_same_batch looks at the numbers.
  StepResult step(const Batch& global_batch);
  /// The same when each device makes only the microbatches it computes.
  StepResult step(const std::function<Batch(int64_t microbatch)>& microbatch);

  /// Captures the model on the shapes of a microbatch and draws the first weights. step() does so by itself;
  /// needed before load(), save() or evaluate() when no step came first.
  void prepare(const Batch& microbatch);

  /// The mean loss over `count` batches, in eval mode, without gradients; the batches are divided over the
  /// devices.
  double evaluate(int64_t count, const std::function<Batch(int64_t)>& batch);

  /// What `forward` makes of `count` batches, in eval mode, without gradients and with the weights of now: replicas
  /// take the batches in turn, tensor parallelism and stages divide each, and on the first device take(i, result of
  /// batch i) is called for all of them in order. The same bits for every layout. `forward` is the module's own, or
  /// any function of it that returns one tensor, the same on every device; it is captured once for each shape of
  /// batch in one call of predict. Collective, as evaluate.
  void predict(const std::function<at::Tensor(const Batch&)>& forward, int64_t count,
               const std::function<Batch(int64_t)>& batch,
               const std::function<void(int64_t, const at::Tensor&)>& take);

  /// Writes a checkpoint folder (docs/checkpoint_format.md); `samples` is the position in the data.
  void save(const std::filesystem::path& folder);
  /// Goes on from a checkpoint of the same run, from any number of devices. Throws InputError, on all
  /// devices, naming what differs when the run does (nothing has changed then), or what is damaged: then the
  /// weights are those of no step, and only another load() that succeeds makes the trainer usable again.
  void load(const std::filesystem::path& folder);
  /// Keeps `json_text` with every checkpoint under notes.`key`; not part of what load() compares. The
  /// same on every device.
  void set_note(const std::string& key, const std::string& json_text);

  int64_t steps_done() const;
  int64_t samples_done() const;
  int64_t num_parameters() const;
  /// Writes the trained numbers into a module that was built, wherever it has not got them, so that it can be
  /// saved, copied or run outside of the Trainer. They hold until the next step() or load(). Needed with tp,
  /// zero=3, servers, bf16 or tensor_chunks; elsewhere the module has the trained numbers by itself.
  void update_module();

  /// The whole value of a parameter as forward reads it, by its name in the module: a copy, put together from
  /// the devices that keep it. For inspection; any device may call it alone.
  at::Tensor parameter(const std::string& name) const;

  using Memory = shoal::Memory;  // of this device
  /// As it was allocated, and of activations as it was measured in the first microbatch.
  Memory memory() const;
  /// As the Programs say that run (docs/program.md): what memory() is measured against.
  Memory planned_memory() const;

  /// What this device does in a step, as text, and what the devices hold.
  std::string plan() const;
  /// Seconds by operator since profile(true).
  void profile(bool on);
  std::map<std::string, double> seconds_by_operator() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Collective; for a program whose devices may read unlike data. Throws InputError, on all devices, naming
/// the first tensor of the batch that some device has otherwise. Reads every byte.
void check_same_batch(World&, const Batch&);

}  // namespace shoal
