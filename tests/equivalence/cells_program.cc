// One rank of the equivalence runs: shoal run -n N cells_program CELLS LAYOUT OUT [PREVIOUS]
// CELLS: indices into all_cells(), with commas between.
#include "base/text.h"
#include "equivalence/cells.h"

int main(int argc, char** argv) {
  using namespace shoal;
  return guarded_main(argc, argv, [&](World& world) {
    std::vector<test::Cell> cells;
    for (const std::string& index : split(argv[1], ','))
      cells.push_back(test::all_cells().at(std::stoul(index)));
    const Layout layout = parse_layout(argv[2], "layout");
    test::run_cells(world, cells, layout, argv[3], argc > 4 ? argv[4] : "");
  });
}
