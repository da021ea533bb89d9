// A flow on the devices of a World.   shoal run -n N program OUT FILE...
#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <shoal/flow.h>
#include <shoal/world.h>

#include <cstdio>
#include <memory>

int main(int argc, char** argv) {
  return shoal::guarded_main(argc, argv, [&](shoal::World& world) {
    shoal::Flow flow;
    flow.read({.paths = {argv + 2, argv + argc}, .format = "text"})
        .map("in capitals",
             [](const std::shared_ptr<arrow::RecordBatch>& rows) {
               const auto capitals =
                   arrow::compute::CallFunction("utf8_upper", {rows->column(0)}).ValueOrDie();
               return arrow::RecordBatch::Make(rows->schema(), rows->num_rows(), {capitals.make_array()});
             })
        .sort({"text"})
        .write({.out = argv[1], .format = "text"});
    flow.settings.part_bytes = 64 << 10;
    const shoal::FlowReport report = shoal::run_flow(flow, world.communicator());
    if (world.rank() == 0)
      std::printf("%d devices, %lld rows\n", world.size(), static_cast<long long>(report.rows));
  });
}
