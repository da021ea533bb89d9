#include "session/run_definition.h"

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::session {
namespace {

nlohmann::json describe(const AdamW& o) {
  return {{"name", "adamw"},
          {"lr", o.lr},
          {"betas", o.betas},
          {"eps", o.eps},
          {"weight_decay", o.weight_decay},
          {"decay_all", o.decay_all}};
}
nlohmann::json describe(const Sgd& o) {
  return {{"name", "sgd"},          {"lr", o.lr},
          {"momentum", o.momentum}, {"weight_decay", o.weight_decay},
          {"nesterov", o.nesterov}, {"decay_all", o.decay_all}};
}

}  // namespace

nlohmann::json run_definition(const TrainerOptions& options, const std::string& graph_hash,
                              const std::string& kind_of_device) {
  return {{"graph", graph_hash},
          {"optimizer", std::visit([](const auto& o) { return describe(o); }, options.optimizer)},
          {"schedule",
           {{"warmup_steps", options.schedule.warmup_steps},
            {"total_steps", options.schedule.total_steps},
            {"final_factor", options.schedule.final_factor}}},
          {"microbatches", options.microbatches},
          {"tensor_chunks", options.tensor_chunks},
          {"seed", options.seed},
          {"precision", options.precision == Precision::kBF16 ? "bf16" : "fp32"},
          {"clip_norm", options.clip_norm},
          {"device", {{"kind", kind_of_device}, {"threads", options.threads}}}};
}

std::string setting_name(const std::string& key) {
  std::string name = key.substr(1);
  std::ranges::replace(name, '/', '.');
  return name;
}

void refuse_other_run(const std::vector<Difference>& all) {
  if (all.empty()) return;
  constexpr size_t kTold = 4;
  std::vector<std::string> told, settings;
  for (const Difference& one : all) {
    if (told.size() == kTold) break;
    told.push_back(cat("its ", one.name, " is ", one.theirs, ", this run's is ", one.ours,
                       one.place.empty() ? "" : cat(" (", one.place, ")")));
    if (!one.setting.empty()) settings.push_back(one.setting);
  }
  const size_t more = all.size() - told.size();
  throw InputError(cat("checkpoint - run: ", join(told, "; "), more == 0 ? "" : cat("; and ", more, " more"),
                       "; a run goes on only as it began, so give it the same settings",
                       more == 0 && !settings.empty() ? cat(" (", join(settings, " "), ")") : "",
                       " or start a new one"));
}

void check_same_run(const nlohmann::json& here, const nlohmann::json& checkpoint) {
  const nlohmann::json flat = here.flatten();
  const nlohmann::json other = checkpoint.flatten();
  std::vector<Difference> found;
  std::string hash;  // that differs; it follows from the settings
  for (const auto& [key, value] : flat.items()) {
    if (other.contains(key) && other[key] == value) continue;
    const std::string name = setting_name(key);
    if (name.ends_with("graph"))
      hash = name;
    else
      found.push_back({name, other.contains(key) ? other[key].dump() : "absent", value.dump(), "", ""});
  }
  refuse_other_run(found);
  if (!hash.empty())
    throw InputError(
        cat("checkpoint - run: its ", hash,
            " is another one than this run's: another model, another size of microbatches, or another "
            "version of Shoal; a run goes on only as it began"));
}

}  // namespace shoal::session
