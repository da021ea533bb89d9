// The runs whose bits must not depend on the layout: model x precision x microbatches x tensor chunks.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "shoal/layout.h"
#include "shoal/world.h"

namespace shoal::test {

// The first three with dropout. kLlamaKv2 has fewer heads of keys and values than tensor chunks.
enum class Model { kMlp, kGpt, kTiedGpt, kLlama, kResnet, kLlamaKv2, kUnet, kGptOfDocuments };

struct Cell {
  Model model;
  bool bf16;
  int64_t microbatches;
  int64_t chunks = 1;
  std::string name() const;  // "gpt-tied bf16 M=6 C=1"
};

/// Whether the layout can run the cell.
bool suits(const Layout&, const Cell&);

std::vector<Cell> all_cells();

inline constexpr int64_t kSteps = 10, kHalf = 5;

std::string name_of(const Layout&);

/// What must be the same: the losses' bits (of the steps, and of an evaluation half-way) and the content hash
/// after kSteps.
struct Bits {
  std::string losses, hash;
  friend bool operator==(const Bits&, const Bits&) = default;
};

/// Trains the cell for kSteps in this layout, keeping checkpoints folder/half and folder/end. Then,
/// when `resume_from` is not empty, goes on from that checkpoint (of kHalf steps) to the end as
/// folder/resumed. Returns the bits of both (rank 0; others nothing).
struct CellResult {
  Bits whole, resumed;
};
CellResult run_cell(World&, const Cell&, const Layout&, const std::filesystem::path& folder,
                    const std::filesystem::path& resume_from);

/// Those of the cells that the layout suits, as text: one line "name|losses|hash|resumed losses|resumed hash"
/// each; written to out/results by rank 0. Cell folders are out/<index>. `previous`: an out folder of another
/// layout to resume from, or empty.
void run_cells(World&, const std::vector<Cell>&, const Layout&, const std::filesystem::path& out,
               const std::filesystem::path& previous);
std::map<std::string, CellResult> read_results(const std::filesystem::path& out);

}  // namespace shoal::test
