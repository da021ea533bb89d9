#include "capture/random_operators.h"

#include "base/text.h"
#include "capture/ghost.h"
#include "graph/operator.h"
#include "shoal/error.h"

namespace shoal::capture {
namespace {

bool is_on_host(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() && !is_ghost(value.toTensor());
}

void refuse_generator(const std::string& name) {
  throw InputError(cat("capture - operator ", name,
                       ": it is given a generator, whose numbers would depend on the layout; leave it out: "
                       "Shoal draws by (seed, step, microbatch, operator, element)"));
}

void refuse_change(const std::string& name) {
  throw InputError(cat("capture - operator ", name,
                       ": it draws into a tensor of the host, whose numbers would be the same in every step; "
                       "make the tensor in forward, without naming a device, or of a tensor's options()"));
}

}  // namespace

bool is_random(const c10::OperatorHandle& op) { return op.hasTag(at::Tag::nondeterministic_seeded); }

void record_draws(const c10::OperatorHandle& op, torch::jit::Stack* stack,
                  const std::function<at::Tensor(const at::Tensor&)>& ghost_of) {
  const std::string name = graph::operator_text(op.operator_name());
  const auto& arguments = op.schema().arguments();
  const size_t first = stack->size() - arguments.size();
  for (size_t i = 0; i < arguments.size(); ++i) {
    c10::IValue& value = (*stack)[first + i];
    if (value.isGenerator() && value.toGenerator().defined()) refuse_generator(name);
    if (arguments[i].name() == "device") value = c10::Device(kGhostDevice, 0);
    if (!is_on_host(value) || arguments[i].name() == "batch_sizes") continue;  // how a sequence is packed
    if (arguments[i].alias_info() != nullptr && arguments[i].alias_info()->isWrite()) refuse_change(name);
    value = ghost_of(value.toTensor());
  }
}

}  // namespace shoal::capture
