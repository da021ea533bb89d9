#include "base/fault.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "shoal/error.h"

namespace shoal {
namespace {

std::string told(const std::function<void()>& code) {
  try {
    code();
  } catch (...) {
    return describe_exception();
  }
  return "(nothing was thrown)";
}

namespace mine {
struct Oops {};
struct Loud : std::runtime_error {
  using std::runtime_error::runtime_error;
};
}  // namespace mine

TEST(DescribeException, NamesTheTypeAndTheFirstLine) {
  EXPECT_EQ(told([] { throw std::out_of_range("index 7"); }), "std::out_of_range: index 7");
  EXPECT_EQ(told([] { throw std::runtime_error("first\nsecond"); }), "std::runtime_error: first");
  EXPECT_EQ(told([] { throw mine::Loud("!"); }), "shoal::(anonymous namespace)::mine::Loud: !");
  EXPECT_EQ(told([] { throw 42; }), "an exception of type int");
  EXPECT_EQ(told([] { throw mine::Oops(); }),
            "an exception of type shoal::(anonymous namespace)::mine::Oops");
  EXPECT_EQ(told([] { throw InputError("recipe - steps: got -1, want 1"); }),
            "recipe - steps: got -1, want 1");
}

TEST(DescribeException, ABrokenInvariantIsALogicErrorOfItsOwn) {
  EXPECT_EQ(told([] { throw BrokenInvariant("window - read"); }), "internal error: window - read");
  EXPECT_THROW(throw BrokenInvariant("x"), std::logic_error);
}

}  // namespace
}  // namespace shoal
