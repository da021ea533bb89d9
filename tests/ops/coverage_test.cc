// LibTorch's operators of pooling, padding and resampling: each has a rule, or is known to be computed whole.
#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "base/text.h"
#include "graph/operator.h"
#include "ops/rules.h"

namespace shoal::ops {
namespace {

constexpr const char* kWords[] = {"pool",   "_pad",   "upsample",        "pixel_",     "fold", "grid_sampl",
                                  "im2col", "col2im", "channel_shuffle", "affine_grid"};
constexpr const char* kOthers[] = {"_padded", "_padding"};  // of sequences of unlike lengths

bool is_of_the_family(const std::string& op) {
  const auto has = [&](const char* word) { return op.find(word) != std::string::npos; };
  return op.starts_with("aten::") && std::any_of(std::begin(kWords), std::end(kWords), has) &&
         std::none_of(std::begin(kOthers), std::end(kOthers), has);
}

// What a graph may have on the CPU: it is no composite, and changes none of its arguments.
bool is_recorded(const c10::OperatorHandle& op) {
  using Key = c10::DispatchKey;
  if (!op.hasSchema() || op.schema().is_mutable()) return false;
  for (const Key key :
       {Key::CPU, Key::CompositeExplicitAutograd, Key::CompositeExplicitAutogradNonFunctional})
    if (op.hasKernelForDispatchKey(key)) return true;
  return false;
}

// With tensor chunks these are whole on each device of a group.
const std::map<std::string, std::string> kWhole = {
    {"aten::_grid_sampler_2d_cpu_fallback", "grid_sampler_2d calls it inside"},
    {"aten::_grid_sampler_2d_cpu_fallback_backward", "its backward does"},
    {"aten::unfold_copy", "what is recorded is unfold"},
};

TEST(OpsCoverage, PoolingPaddingAndResamplingHaveRules) {
  std::set<std::string> seen;
  int rules = 0;
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    const std::string op = graph::operator_text(name);
    const auto handle = c10::Dispatcher::singleton().findOp(name);
    if (!is_of_the_family(op) || !handle || !is_recorded(*handle)) continue;
    seen.insert(op);
    rules += has_rule(op);
    std::cout << op << (has_rule(op) ? "\n" : ": whole\n");
    EXPECT_NE(has_rule(op), kWhole.contains(op)) << op << " has a rule, or is said to be whole: one of both";
  }
  for (const auto& [op, why] : kWhole) EXPECT_TRUE(seen.contains(op)) << op;
  EXPECT_GE(rules, 70);
}

}  // namespace
}  // namespace shoal::ops
