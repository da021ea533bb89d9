// One rank of the equivalence runs: shoal run -n N cells_program OUT [PREVIOUS]
#include "equivalence/cells.h"

int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [&](shoal::World& world) {
    shoal::test::run_cells(world, argv[1], argc > 2 ? argv[2] : "");
  });
}
