// How the work is divided over the devices of a World. It never changes the answer (docs/numerics.md).
#pragma once

#include <cstdint>
#include <string>

namespace shoal {

/// dp x tp devices that compute, and `servers` that keep the weights. Ranks: the dp x tp grid row by row (tp
/// varies fastest), then the servers.
struct Layout {
  int64_t dp = 1;  // groups that each take some of the microbatches
  int64_t tp = 1;  // devices that share one microbatch: each computes some of its tensor_chunks
  int zero = 1;  // what the dp axis divides: 0 nothing, 1 optimizer state, 2 gradients too, 3 parameters too
  int64_t servers =
      0;  // this many further devices own all weights and optimizer state; then zero does not apply

  int64_t devices() const { return dp * tp + servers; }
  friend bool operator==(const Layout&, const Layout&) = default;
};

/// Reads "dp=2,tp=2,zero=1" or "dp=3,owners=servers:1"; what is left out has the default above. Text that
/// ends with .toml is the path of a plan file, whose [layout] has dp, tp, zero and servers. Whether the
/// layout suits a run is not looked at: the Trainer does that. Throws InputError; `place` begins the sentence
/// ("--layout tq=2 - layout").
Layout parse_layout(const std::string& text, const std::string& place);

/// The shortest text that parse_layout reads back to the same: "dp=2,tp=2".
std::string print(const Layout&);

}  // namespace shoal
