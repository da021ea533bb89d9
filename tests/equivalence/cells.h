// The runs whose bits must not depend on the devices: model x precision x microbatches.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "shoal/world.h"

namespace shoal::test {

enum class Model { kMlp, kGpt, kTiedGpt, kLlama };  // the first three with dropout

struct Cell {
  Model model;
  bool bf16;
  int64_t microbatches;
  std::string name() const;  // "gpt-tied bf16 M=6"
};

std::vector<Cell> all_cells();

inline constexpr int64_t kSteps = 20, kHalf = 10;

/// What must be the same: the losses' bits and the content hash after kSteps.
struct Bits {
  std::string losses, hash;
  friend bool operator==(const Bits&, const Bits&) = default;
};

/// Trains the cell for kSteps on the world's devices, keeping checkpoints folder/half and folder/end. Then,
/// when `resume_from` is not empty, goes on from that checkpoint (of kHalf steps) to the end as
/// folder/resumed. Returns the bits of both (rank 0; others nothing).
struct CellResult {
  Bits whole, resumed;
};
CellResult run_cell(World&, const Cell&, const std::filesystem::path& folder,
                    const std::filesystem::path& resume_from);

/// All cells that fit the world, as text: one line "name|losses|hash|resumed losses|resumed hash" each;
/// written to out/results by rank 0. Cell folders are out/<index>. `previous`: an out folder of another
/// number of devices to resume from, or empty.
void run_cells(World&, const std::filesystem::path& out, const std::filesystem::path& previous);
std::map<std::string, CellResult> read_results(const std::filesystem::path& out);

}  // namespace shoal::test
