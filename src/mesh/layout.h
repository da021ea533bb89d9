// Which layouts a run can have.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "shoal/layout.h"

namespace shoal::mesh {

/// What a layout has to suit: the devices there are, and what the run decided before (docs/numerics.md).
struct Limits {
  int64_t devices = 1;
  int64_t microbatches = 1;
  int64_t tensor_chunks = 1;
  /// What tp divides and tensor_chunks must therefore divide, by name: {"model.heads", 8}.
  std::vector<std::pair<std::string, int64_t>> divided = {};
};

// --- What a layout's zero divides over the dp axis; with servers nothing is, since they own all ---
inline bool replicates_optimizer(const Layout& layout) { return layout.zero == 0 && layout.servers == 0; }
inline bool shards_gradients(const Layout& layout) { return layout.zero >= 2 && layout.servers == 0; }
inline bool shards_parameters(const Layout& layout) { return layout.zero >= 3 && layout.servers == 0; }

/// Throws InputError when the layout cannot be: the reason, and at most three layouts near it that work on as
/// many devices. `place` begins the sentence ("r.toml:16 - layout.mesh").
void check_layout(const Layout&, const Limits&, const std::string& place);

/// The layout where nobody named one: every device takes its share of the microbatches. Throws as
/// check_layout does.
Layout default_layout(const Limits&, const std::string& place);

}  // namespace shoal::mesh
