// How the work is divided over the devices of a World. It never changes the answer (docs/numerics.md).
#pragma once

#include <cstdint>
#include <string>

namespace shoal {

/// In which order the devices of a pipeline compute the forward (F) and backward (B) passes of their stages; in
/// docs/pipelines.md with their sources.
enum class Schedule {
  k1F1B,             // a backward as soon as there is one: a device has at most pp microbatches in flight
  kGPipe,            // all forward, then all backward
  kInterleaved1F1B,  // 1F1B with several stages on each device
  kZeroBubble,       // 1F1B whose backward is in two: gradients of inputs first, those of weights fill waiting (ZB-H1)
  kZeroBubbleH2,     // the same with up to 2 pp - 1 microbatches in flight (ZB-H2)
  kZeroBubbleV,      // the same with two stages on each device, the first and the last on the first (ZB-V)
};

/// What backward computes again of forward, so that it need not be kept meanwhile: memory for time, with the same bits.
enum class Recompute {
  kNone,
  kSelective,  // what costs least time for each byte; a few percent of a step
  kAll,        // all but what goes from one block of the model to the next; up to a third of a step
};

/// pp x dp x tp devices that compute, and `servers` that keep the weights. Ranks: the pp x dp x tp grid row by row
/// (tp varies fastest), then the servers.
struct Layout {
  int64_t dp = 1;  // groups that each take some of the microbatches
  int64_t tp = 1;  // devices that share one microbatch: each computes some of its tensor_chunks
  int zero = 1;  // what the dp axis divides: 0 nothing, 1 optimizer state, 2 gradients too, 3 parameters too
  int64_t servers =
      0;  // this many further devices own all weights and optimizer state; then zero does not apply
  int64_t pp = 1;  // devices that each compute some of the model's layers, a stage, and pass on what comes out
  Schedule schedule = Schedule::k1F1B;  // where pp > 1
  int64_t stages_per_device = 1;        // with kInterleaved1F1B: device p has stages p, p + pp, ...; 2 with kZeroBubbleV

  Recompute recompute = Recompute::kNone;  // in training

  int64_t devices() const { return pp * dp * tp + servers; }
  int64_t stages() const { return pp * stages_per_device; }
  friend bool operator==(const Layout&, const Layout&) = default;
};

/// Reads "dp=2,tp=2,zero=1", "dp=3,owners=servers:1" or "pp=2,schedule=interleaved_1f1b:2" (with 2 stages on each
/// device); what is left out has the default above. Text that ends with .toml is the path of a plan file, whose
/// [layout] has dp, tp, zero, servers, pp, schedule and recompute. Whether the
/// layout suits a run is not looked at: the Trainer does that. Throws InputError; `place` begins the sentence
/// ("--layout tq=2 - layout").
Layout parse_layout(const std::string& text, const std::string& place);

/// The shortest text that parse_layout reads back to the same: "dp=2,tp=2".
std::string print(const Layout&);

}  // namespace shoal
