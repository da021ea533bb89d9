// In which order each device of a pipeline computes: a schedule is data, a list of turns for each device, as the
// papers print them in a grid. Knows numbers of stages and microbatches, nothing of a model.
//
// Sources: GPipe (Huang et al. 2019); 1F1B (PipeDream-Flush, Narayanan et al. 2021); interleaved 1F1B (Megatron-LM,
// Narayanan et al. 2021); zero bubble ZB-H1 and ZB-H2 (Qi et al. 2023), ZB-V (Qi et al. 2024).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "shoal/layout.h"

namespace shoal::lower {

/// What a device computes in one go: a pass of one stage over one microbatch.
struct Turn {
  enum class Pass {
    kForward,         // F
    kBackward,        // B  all of it: I, then W
    kInputGradient,   // I  what earlier stages wait for
    kWeightGradient,  // W  the rest of backward
  };
  Pass pass;
  int stage;
  int64_t microbatch;  // of the pipeline's own, from 0
  friend auto operator<=>(const Turn&, const Turn&) = default;
};
using Grid = std::vector<std::vector<Turn>>;  // by place on the pp axis

/// The pp coordinate that has a stage.
int device_of_stage(const Layout&, int stage);

/// Seconds, or any other unit, that a turn takes.
using TurnCost = std::function<double(const Turn&)>;
/// F 1, B 2, I and W 1, of every stage.
double unit_cost(const Turn&);

/// The layout's schedule for `microbatches` of one pipeline. A zero-bubble schedule goes by what passes cost.
Grid schedule_pipeline(const Layout&, int64_t microbatches, const TurnCost& = unit_cost);
int64_t num_microbatches(const Grid&);
/// Whether the first stage's backward comes in two, I and W. Nobody waits for its I, so that a grid decides; that of later
/// stages always does, and what earlier stages wait for is sent between the two, also in a B.
bool splits_first_stage(const Grid&);
/// The turns of one microbatch, in order.
std::vector<Turn> turns_of_microbatch(const Grid&, int device, int64_t microbatch);

/// When each turn begins, were a message instant.
struct Timeline {
  std::vector<std::vector<double>> begins, ends;  // as the grid
  std::vector<double> busy;                       // by device
  double length = 0;
};
/// Throws InputError when the turns cannot be: one that is missing, twice, or in an order in which devices wait for
/// each other for ever; the grid is in the sentence, the cell is marked.
Timeline simulate(const Grid&, const Layout&, int64_t microbatches, const TurnCost& = unit_cost);

/// The most microbatches that a device has begun and not ended, at a time.
int in_flight(const std::vector<Turn>&);

/// The most messages that turns which are `sends` have sent while the receiver, a device too, needs them still: until it
/// has ended the microbatch.
int most_sent_ahead(const Grid&, const Timeline&, size_t sender, size_t receiver,
                    const std::function<bool(const Turn&)>& sends);

/// "0F1": stage, pass, microbatch.
std::string print(const Turn&);
/// A line for each device: "0F0 0F1 0B0 0B1", stage, pass, microbatch. `marked`: device and turn that stand in [].
std::string print(const Grid&, int device = -1, size_t turn = 0);
/// Reads it; a ';' too ends a line. Throws InputError.
Grid parse_grid(const std::string& text);

}  // namespace shoal::lower
