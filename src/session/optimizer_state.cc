#include "session/optimizer_state.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <numbers>

namespace shoal {

double LearningRateSchedule::factor(int64_t step) const {
  if (step < warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (total_steps <= warmup_steps) return 1;
  const double done = std::min(
      1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps - warmup_steps));
  return final_factor + (1 - final_factor) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

namespace session {
namespace {

struct Group {
  std::vector<at::Tensor> weights, gradients;
  std::map<std::string, std::vector<at::Tensor>> state;
};

void call(const AdamW& adamw, Group& group, bool decays, int64_t step, double lr, const at::Tensor& divisor) {
  const std::vector<at::Tensor> steps(group.weights.size(),
                                      at::full({}, static_cast<float>(step + 1), at::kFloat));
  at::_fused_adamw_(group.weights, group.gradients, group.state["exp_avg"], group.state["exp_avg_sq"], {},
                    steps, lr, adamw.betas[0], adamw.betas[1], decays ? adamw.weight_decay : 0.0, adamw.eps,
                    /*amsgrad=*/false, /*maximize=*/false, divisor);
}

void call(const Sgd& sgd, Group& group, bool decays, int64_t step, double lr, const at::Tensor& divisor) {
  at::_fused_sgd_(group.weights, group.gradients, group.state["momentum"], decays ? sgd.weight_decay : 0.0,
                  sgd.momentum, lr,
                  /*dampening=*/0.0, sgd.nesterov, /*maximize=*/false, /*is_first_step=*/step == 0, divisor);
}

std::vector<std::string> roles(const AdamW&) { return {"exp_avg", "exp_avg_sq"}; }
std::vector<std::string> roles(const Sgd& sgd) {
  return sgd.momentum > 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{};
}

}  // namespace

int64_t num_states(const Optimizer& optimizer) {
  return std::visit([](const auto& o) { return std::ssize(roles(o)); }, optimizer);
}

OptimizerState::OptimizerState(const Optimizer& optimizer, const lower::Storage& storage,
                               const std::vector<run::OwnedShard>& owned, kernels::Device& device,
                               const std::string& folder)
    : optimizer_(optimizer) {
  const bool all = std::visit([](const auto& o) { return o.decay_all; }, optimizer);
  for (const run::OwnedShard& shard : owned)
    decays_.push_back(all || storage.units[shard.shard.unit].shape.size() >= 2);
  for (const std::string& role : std::visit([](const auto& o) { return roles(o); }, optimizer)) {
    std::vector<at::Tensor>& tensors = state_[role];  // there, if empty, on a device that owns nothing
    if (folder.empty())
      for (const run::OwnedShard& shard : owned) tensors.push_back(at::zeros_like(shard.master));
  }
  if (folder.empty()) return;
  size_t bytes = 0;
  const auto room = [](const run::OwnedShard& shard) {
    return static_cast<size_t>(align_up(static_cast<int64_t>(shard.master.nbytes())));
  };
  for (const run::OwnedShard& shard : owned) bytes += room(shard) * state_.size();
  file_ = std::make_unique<state::ScratchFile>(folder, bytes);
  std::byte* at = file_->memory().data();
  for (auto& [role, tensors] : state_)
    for (const run::OwnedShard& shard : owned) {
      tensors.push_back(device.view(at, shard.master.sizes(), at::kFloat));
      at += room(shard);
    }
}

int64_t OptimizerState::bytes() const {
  int64_t bytes = 0;
  if (file_) return bytes;
  for (const auto& [role, tensors] : state_)
    for (const at::Tensor& tensor : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

void OptimizerState::apply(std::vector<run::OwnedShard>& owned, int64_t step, double lr_factor,
                           float divisor) {
  const at::Tensor divisor_tensor = at::full({}, divisor, at::kFloat);
  for (const bool decays : {true, false}) {
    Group group;
    for (size_t i = 0; i < owned.size(); ++i) {
      if (decays_[i] != decays) continue;
      group.weights.push_back(owned[i].master);
      group.gradients.push_back(owned[i].gradient);
      for (auto& [role, tensors] : state_) group.state[role].push_back(tensors[i]);
    }
    if (group.weights.empty()) continue;
    std::visit([&](const auto& o) { call(o, group, decays, step, o.lr * lr_factor, divisor_tensor); },
               optimizer_);
  }
  if (file_) file_->rest();
}

}  // namespace session
}  // namespace shoal
