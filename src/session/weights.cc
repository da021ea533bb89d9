#include "session/weights.h"

#include <algorithm>

#include "base/text.h"
#include "lower/lower.h"
#include "lower/memory.h"
#include "run/initialise.h"
#include "run/out_of_memory.h"
#include "session/measured_costs.h"
#include "shoal/error.h"

namespace shoal::session {
namespace {

// Every device that computes keeps whole parameters, and all that write to them write alike.
bool lends(const Layout& layout) {
  return layout.servers == 0 && layout.pp == 1 && !mesh::shards_parameters(layout);
}

// The memory for gradients is laid out once, with a place for each use of a parameter.
void check_same_uses(const lower::Storage& now, const lower::Storage& first) {
  for (size_t u = 0; u < std::min(now.units.size(), first.units.size()); ++u) {
    const lower::Unit &is = now.units[u], &was = first.units[u];
    if (is.parameter == was.parameter && is.contributions.size() != was.contributions.size())
      throw InputError(cat("trainer - parameter ", is.parameter, ": it is used in ", is.contributions.size(),
                           " places now, and was used in ", was.contributions.size(),
                           " when training began; use it alike in every step (what comes later times 0 at "
                           "first), or make a new Trainer"));
  }
}

}  // namespace

lower::Storage storage_of(const graph::Graph& graph) {
  lower::Storage storage = lower::plan_storage(graph);
  if (storage.units.empty())
    throw InputError("trainer - model: it has no parameter that takes part in the loss");
  return storage;
}

Weights::Weights(const Session& session, const numerics::DividedRun& first, const Key& key)
    : session_(session),
      group_(session.world.communicator()),
      storage_(storage_of(first.graph)),
      cut_map_(first.cut_map),
      trainable_(key.trainable),
      ownership_(lower::own(first.graph, storage_, session.layout, session.options.stages,
                            lower::parse_grid(session.options.grid),
                            measured_costs(first.graph, session.layout, session.world.device(), group_))) {
  try {
    memory_ = std::make_unique<run::DeviceMemory>(group_, ownership_, session.schedule, session.world.device());
    fill();
    if (!session.model.initialisation)
      link_.emplace(group_, *memory_, session.tensors, lends(session.layout));
    optimizer_ = std::make_unique<OptimizerState>(session.options.optimizer, storage_, memory_->owned(),
                                                  session.world.device(), session.options.offload);
    group_.barrier();  // others' models may read these weights from now on
  } catch (const std::exception& error) {
    link_.reset();
    memory_.reset();  // room for the sentence
    if (run::is_out_of_memory(error)) throw no_room();
    throw;
  }
}

void Weights::fill() {
  const std::vector<capture::NamedTensor> all = session_.tensors.all();
  if (session_.model.initialisation) {  // drawn one tensor after the other
    const auto take = [&](int index, const at::Tensor& value) {
      install(all[static_cast<size_t>(index)], value);
    };
    run::initialise(session_.world.device(), session_.model.initialisation->graph, session_.options.seed, take);
    return;
  }
  for (const capture::NamedTensor& named : all) {
    check_has_numbers(named);
    const auto reading = capture::reading_modules();
    install(named, named.tensor.detach());
  }
}

void Weights::install(const capture::NamedTensor& named, const at::Tensor& value) {
  memory_->install(named.name, value,
                   capture::compute_dtype(*session_.model.module, named, session_.options.precision));
}

JobError Weights::no_room() const {
  const int rank = session_.world.rank();
  const int64_t bytes = lower::model_bytes(ownership_, session_.schedule, rank);
  return JobError(cat("memory - the model's weights, gradients and optimizer state take some ",
                      human_bytes(static_cast<uint64_t>(bytes)),
                      " on this device, which has no room for them; use more devices",
                      session_.layout.zero == 3 ? "" : ", with zero=3 each keeps a share of everything"));
}

void Weights::check_trains_the_same(const graph::Graph& graph, const Key& key) const {
  const lower::Storage now = lower::plan_storage(graph);
  if (lower::print(now) == lower::print(storage_)) return;
  for (size_t i = 0; i < key.trainable.size(); ++i)
    if (key.trainable[i] != trainable_[i])
      throw InputError(cat("trainer - parameter ", session_.tensors.parameters[i].name,
                           ": its requires_grad is ",
                           key.trainable[i] ? "true, and was false" : "false, and was true",
                           " when training began; a Trainer trains the same parameters to its end, so make "
                           "a new one, which goes on with the module's numbers"));
  check_same_uses(now, storage_);
  throw InputError(cat("trainer - batch: with tensors ", print_shapes(key.shapes),
                       " the model trains other parameters than with its first batch; make each "
                       "parameter take part in every loss"));
}

// A tied parameter has the first of its names here.
std::string Weights::first_name_of(const std::string& name) const {
  const torch::nn::Module& module = *session_.model.module;
  const auto parameters = module.named_parameters(), buffers = module.named_buffers();
  const at::Tensor* wanted = parameters.find(name);
  if (!wanted) wanted = buffers.find(name);
  for (const capture::NamedTensor& named : session_.tensors.all())
    if (wanted && named.tensor.is_same(*wanted)) return named.name;
  return name;
}

at::Tensor Weights::parameter(const std::string& name) {
  if (link_) link_->follow_here();
  const at::Tensor value = memory_->whole(first_name_of(name));
  if (!value.defined()) throw InputError(cat("trainer - parameter: the module has none named ", name));
  return value;
}

void Weights::require_whole(const char* what) const {
  if (half_loaded_)
    throw InputError(cat("trainer - ", what,
                         ": the last load() failed on the way, so the weights are those of no step; load "
                         "another checkpoint first"));
}

std::string Weights::print() const {
  return cat(lower::print(storage_), "\n", lower::print(ownership_), cut_map_);
}

}  // namespace shoal::session
