// Proves that the Programs of all devices work together, by running them without numbers: each device as far as
// it can go, with a vector clock (Mattern 1989; the race test is that of FastTrack, Flanagan and Freund 2009).
//
// Held: every operand exists; every microbatch is computed once by each tensor-parallel coordinate; nothing is
// read before it is written, written over while this device or a peer still needs it, or left over; sums
// follow the tree over the microbatches; a group's members make the same collective calls in the same order,
// and nobody waits for ever; the microbatches of a frame run in one order; an update has the whole sum, and forward the weights of its step. The Programs run
// twice in a row, so what the next step would spoil is found.
#pragma once

#include <vector>

#include "lower/program.h"

namespace shoal::lower {

/// `programs`: of all ranks, in order, of one name. Throws JobError: "program of rank 1 - instruction 7, \"run S0 %f0\":
/// ...".
void program_check(const std::vector<Program>& programs);

}  // namespace shoal::lower
