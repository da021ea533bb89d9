// The weights of a run as a checkpoint has them (docs/checkpoint_format.md): for each trained unit its weight
// and optimizer state, then what is frozen, and buffers.
#pragma once

#include <filesystem>

#include "session/session.h"
#include "session/weights.h"

namespace shoal::session {

/// Collective. Throws JobError on every rank when it cannot be written.
void save_weights(const Session&, Weights&, const std::filesystem::path& folder);

/// Collective: all ranks load, or all throw, since a damaged block is read by some of them only. Sets the
/// session's steps and samples. Throws InputError naming what differs when the checkpoint is of another run
/// (nothing has changed then), or what is damaged: then the weights are half loaded.
void load_weights(Session&, Weights&, const std::filesystem::path& folder);

}  // namespace shoal::session
