#include "session/modes.h"

#include <algorithm>
#include <mutex>

#include "base/text.h"

namespace shoal::session {
namespace {

std::mutex& evaluations() {
  static std::mutex one_at_a_time;
  return one_at_a_time;
}

Modes read(const torch::nn::Module& module) {
  Modes modes;
  for (const auto& each : module.modules()) modes.push_back(each->is_training());
  return modes;
}

// Parents first, since train() goes on to the children.
void restore(torch::nn::Module& module, const Modes& before) {
  const auto modules = module.modules();
  for (size_t i = 0; i < modules.size(); ++i)
    if (modules[i]->is_training() != before[i]) modules[i]->train(before[i]);
  // Where a train() of the user's own decided otherwise: the flag alone.
  for (size_t i = 0; i < modules.size(); ++i)
    if (modules[i]->is_training() != before[i]) modules[i]->torch::nn::Module::train(before[i]);
}

}  // namespace

Modes modes_of(const torch::nn::Module& module) {
  const std::lock_guard lock(evaluations());
  return read(module);
}

std::string print(const Modes& modes, const torch::nn::Module& module) {
  if (std::ranges::find(modes, false) == modes.end()) return "none";
  std::vector<std::string> names;
  const auto items = module.named_modules("", /*include_self=*/true);
  for (size_t i = 0; i < modes.size(); ++i)
    if (!modes[i]) names.push_back(items[i].key().empty() ? "all" : items[i].key());
  return join(names, ", ");
}

void in_evaluation(torch::nn::Module& module, const std::function<void()>& work) {
  const std::lock_guard lock(evaluations());
  const Modes before = read(module);
  try {
    module.eval();
    work();
  } catch (...) {
    restore(module, before);
    throw;
  }
  restore(module, before);
}

}  // namespace shoal::session
