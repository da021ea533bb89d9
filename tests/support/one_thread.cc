// What tests call eager runs with one thread, as a device does by default: some sums depend on the number.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace shoal::test {
namespace {

class OneThread : public testing::Environment {
  void SetUp() override { at::set_num_threads(1); }
};

const testing::Environment* const kOneThread = testing::AddGlobalTestEnvironment(new OneThread);

}  // namespace
}  // namespace shoal::test
