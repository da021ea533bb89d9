// One rank of two trainers side by side: shoal run -n N pairs_program PAIR FOLDER, where PAIR counts all_pairs().
// Rank 0 writes FOLDER/bits, a line for each trainer.
#include <fstream>

#include "equivalence/pairs.h"
#include "shoal/shoal.h"

int main(int argc, char** argv) {
  using namespace shoal;
  return guarded_main(argc, argv, [&](World& world) {
    const test::PairBits bits = test::run_pair(world, test::all_pairs().at(std::stoul(argv[1])), argv[2]);
    if (world.rank() == 0)
      std::ofstream(std::filesystem::path(argv[2]) / "bits") << bits.bits[0] << '\n' << bits.bits[1] << '\n';
  });
}
