// Recurrent layers as capture sees them. LibTorch gives LSTM and GRU on a device that is not the CPU to fused
// cells, for which the CPU has no kernel.
#pragma once

namespace shoal::capture {

/// From here on, LSTM, GRU and RNN on ghosts, their cells, and the packing of sequences become the operators
/// that the CPU's eager code calls, in its order: one oneDNN layer for a plain LSTM, linear layers and
/// pointwise operators for the rest (docs/capture.md, "Recurrent layers"). Call once.
void register_recurrent();

}  // namespace shoal::capture
