// shoal_device: what an engine starts for each of its devices. A program of its own, so that a device loads
// neither LibTorch nor the command line.
#include "comm/launch.h"
#include "infer/device.h"

int main(int argc, char** argv) {
  shoal::comm::survive_full_files();
  return shoal::infer::run_device({argv + 1, argv + argc});
}
