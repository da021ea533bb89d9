// Training and evaluation: a flag of each submodule, which belongs to the user.
//
// Threads: devices that are threads of one process may share a described module, so that all that looks at
// flags while another thread may have set them for an evaluation waits for its end.
#pragma once

#include <torch/nn/module.h>

#include <functional>
#include <string>
#include <vector>

namespace shoal::session {

/// Which submodules are in training mode, in the order of modules().
using Modes = std::vector<bool>;
Modes modes_of(const torch::nn::Module&);
/// Those that are in eval(), by name: "bn, drop"; the module itself is "all". "none".
std::string print(const Modes&, const torch::nn::Module&);

/// eval(), then `work`, then every flag as it was before, also when `work` throws. What a module does in a
/// train() of its own is done, as when a user calls eval() and train() around an evaluation.
void in_evaluation(torch::nn::Module&, const std::function<void()>& work);

}  // namespace shoal::session
