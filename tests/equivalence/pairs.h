// Two trainers that live at the same time in one World, their calls interleaved in any order.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "shoal/layout.h"
#include "shoal/world.h"

namespace shoal::test {

struct Pair {
  Layout layouts[2];
  std::string script;
  std::string name() const;
};

/// What runs beside what, on 2 and on 4 devices.
std::vector<Pair> all_pairs();

/// Follows the script, one call per letter: 'A' and 'B' train a step of the first and of the second trainer,
/// 'a' and 'b' evaluate it, 's' and 't' save it, 'l' and 'm' load what was saved, 'x' and 'y' save it for the
/// last time and end it; all else is nothing. Returns for both what must not depend on the other: the bits of
/// every loss, and the content hash at the end (on rank 0; elsewhere no hash).
struct PairBits {
  std::string bits[2];
};
PairBits run_pair(World&, const Pair&, const std::filesystem::path& folder);

/// The script without the calls of the trainer that is not number `kept`.
Pair alone(Pair, int kept);

}  // namespace shoal::test
