#include "capture/random_operators.h"

#include "base/text.h"
#include "capture/ghost.h"
#include "graph/operator.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

bool has_numbers(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() && !ghost_beneath(value.toTensor()).defined();
}

void refuse_generator(const std::string& name) {
  throw InputError(cat("capture - operator ", name,
                       ": it is given a generator, whose numbers would depend on the layout; leave it out: "
                       "Shoal draws by (seed, step, microbatch, operator, element)"));
}

}  // namespace

bool is_random(const c10::OperatorHandle& op) { return op.hasTag(at::Tag::nondeterministic_seeded); }

void record_draws(const c10::OperatorHandle& op, torch::jit::Stack& stack, const HostArguments& host) {
  const std::string name = graph::operator_text(op.operator_name());
  const auto& arguments = op.schema().arguments();
  const size_t first = stack.size() - arguments.size();
  for (size_t i = 0; i < arguments.size(); ++i) {
    c10::IValue& value = stack[first + i];
    if (value.isGenerator() && value.toGenerator().defined()) refuse_generator(name);
    if (arguments[i].name() == "device") value = c10::Device(kGhostDevice, 0);
    if (!has_numbers(value) || arguments[i].name() == "batch_sizes") continue;  // how a sequence is packed
    const bool is_written = arguments[i].alias_info() != nullptr && arguments[i].alias_info()->isWrite();
    value = (is_written ? host.written : host.read)(value.toTensor());
  }
}

}  // namespace shoal::capture
