#include "session/module_link.h"

#include <ATen/core/grad_mode.h>

#include <mutex>

#include "base/text.h"
#include "session/tensor_hash.h"
#include "shoal/error.h"

namespace shoal::session {
namespace {

std::string print_type(const at::Tensor& tensor) {
  return cat(graph::dtype_name(tensor.scalar_type()), "[", join(tensor.sizes(), ","), "]");
}

int64_t version_of(const at::Tensor& tensor) {
  return tensor.is_inference() ? 0 : static_cast<int64_t>(tensor._version());
}

void check_tensors(const char* kind, const std::vector<capture::NamedTensor>& before,
                   const std::vector<capture::NamedTensor>& now) {
  constexpr const char* kInstead = "; a Trainer's model keeps its tensors, so make a new Trainer";
  const auto refuse = [&](const std::string& name, const std::string& what) {
    throw InputError(cat("trainer - ", kind, " ", name, ": ", what, kInstead));
  };
  for (size_t i = 0; i < before.size(); ++i) {
    const capture::NamedTensor& was = before[i];
    const auto is = i < now.size() && now[i].name == was.name
                        ? now.begin() + static_cast<std::ptrdiff_t>(i)
                        : std::ranges::find(now, was.name, &capture::NamedTensor::name);
    if (is == now.end()) refuse(was.name, "the module has none of this name any more");
    if (!is->tensor.is_same(was.tensor))
      refuse(was.name, "the module has another tensor of this name than at first, which is not trained");
  }
  if (now.size() == before.size()) return;  // each of `before` was found, and names are unique
  for (const capture::NamedTensor& is : now)
    if (std::ranges::find(before, is.name, &capture::NamedTensor::name) == before.end())
      refuse(is.name, "the module did not have it at first, so it is not trained");
}

}  // namespace

void check_tensors(const capture::NamedTensors& before, const torch::nn::Module& module) {
  const capture::NamedTensors now = capture::named_tensors(module);
  check_tensors("parameter", before.parameters, now.parameters);
  check_tensors("buffer", before.buffers, now.buffers);
}

void check_has_numbers(const capture::NamedTensor& named) {
  if (const auto lender = lender_of(named.tensor); lender && address_of(named.tensor) == nullptr)
    throw InputError(cat("module - ", named.name, ": its trained numbers are with another Trainer; call that "
                         "one's update_module() first, on every device and before it ends"));
}

ModuleLink::ModuleLink(comm::Group& group, run::DeviceMemory& memory,
                       const capture::NamedTensors& tensors, bool lends)
    : group_(group), memory_(memory), lends_(lends) {
  lender_->thread = std::this_thread::get_id();
  lender_->memory = memory.weights();
  for (const capture::NamedTensor& named : tensors.all())
    entries_.push_back({named, graph::type_of(named.tensor)});
  if (group.size() > 1) group.barrier();  // threads of one process have all read the module
  static std::mutex claims;
  const std::lock_guard lock(claims);
  for (const Entry& entry : entries_) {
    const auto other = lender_of(entry.named.tensor);
    if (other && other->alive && other->thread != lender_->thread) linked_ = false;
  }
  for (Entry& entry : entries_) connect(entry);
}

ModuleLink::~ModuleLink() {
  lender_->alive = false;
  try {
    if (group_.size() == 1) update();
  } catch (const std::exception&) {  // the module is left without numbers, and says so when it is read
  }
}

// The place is the same on every device; what is done to the module is done by the one that has it.
void ModuleLink::connect(Entry& entry) {
  const at::Tensor& tensor = entry.named.tensor;
  const at::Tensor value = memory_.value(entry.named.name, graph::kWhole);
  const bool same_type = value.defined() && value.scalar_type() == tensor.scalar_type();
  if (memory_.unowned().contains(entry.named.name)) {
    if (!same_type || tensor.is_inference() || !tensor.is_non_overlapping_and_dense()) return withhold(entry);
    entry.place = Place::kOwn;
    if (linked_) memory_.adopt(entry.named.name, tensor.detach());
  } else {
    if (!lends_ || !same_type || tensor.scalar_type() != at::kFloat || !covers_storage(tensor))
      return withhold(entry);
    entry.place = Place::kLent;
    if (linked_) lend(tensor, value.mutable_data_ptr(), lender_);
  }
  note(entry);
}

void ModuleLink::note(Entry& entry) {
  entry.address = address_of(entry.named.tensor);
  entry.version = version_of(entry.named.tensor);
}

void ModuleLink::withhold(Entry& entry) {
  entry.place = Place::kAway;
  if (linked_)
    session::withhold(entry.named.tensor,
                    cat("module - ", entry.named.name,
                        ": its trained numbers are with the Trainer; call the Trainer's update_module() on "
                        "every device, which writes them here until the next step"),
                    lender_);
}

void ModuleLink::withhold() {
  for (Entry& entry : entries_)
    if (entry.place == Place::kShown) withhold(entry);
}

bool ModuleLink::is_changed(const Entry& entry, bool replaced_only) const {
  if (!linked_) return false;
  const at::Tensor& tensor = entry.named.tensor;
  switch (entry.place) {
    case Place::kAway:
      return lender_of(tensor) != lender_;
    case Place::kShown:
      return hash_of(tensor) != entry.shown;
    case Place::kLent:
    case Place::kOwn:
      return address_of(tensor) != entry.address || (!replaced_only && version_of(tensor) != entry.version);
  }
  return false;
}

void ModuleLink::take(Entry& entry) {
  const at::Tensor& tensor = entry.named.tensor;
  if (entry.place == Place::kLent && address_of(tensor) == entry.address) return note(entry);
  if (entry.place == Place::kOwn) {
    memory_.adopt(entry.named.name, tensor.detach());
    return note(entry);
  }
  const at::Tensor kept = memory_.value(entry.named.name, graph::kWhole);
  {
    const auto reading = capture::reading_modules();
    memory_.install(entry.named.name, tensor.detach(), kept.defined() ? kept.scalar_type() : at::kFloat);
  }
  if (entry.place == Place::kShown)
    entry.shown = hash_of(tensor);
  else
    connect(entry);
}

void ModuleLink::check_types() const {
  for (const Entry& entry : entries_)
    if (const at::Tensor& tensor = entry.named.tensor;
        tensor.sizes() != entry.type.shape || tensor.scalar_type() != entry.type.dtype)
      throw InputError(cat("module - ", entry.named.name, ": got ", print_type(tensor), ", want ",
                           graph::dtype_name(entry.type.dtype), "[", join(entry.type.shape, ","),
                           "] as when its training began; make a new Trainer for a module of other shapes"));
}

std::vector<comm::Fact> ModuleLink::writes() {
  check_types();
  written_.clear();
  std::vector<comm::Fact> facts;
  for (Entry& entry : entries_) {
    if (!is_changed(entry, /*replaced_only=*/group_.size() == 1)) continue;
    check_has_numbers(entry.named);
    written_.push_back(&entry);
    if (group_.size() > 1)
      facts.push_back({cat("write to ", entry.named.name), hash_of(entry.named.tensor),
                       "what is written to the module between steps must be the same on every device",
                       /*is_hash=*/true});
  }
  return facts;
}

void ModuleLink::follow() {
  for (Entry* entry : written_) take(*entry);
  // Where devices read each other's weights in forward, nobody begins before all have written.
  if (!written_.empty() && group_.size() > 1) group_.barrier();
  written_.clear();
}

void ModuleLink::follow_here() {
  check_types();
  for (Entry& entry : entries_) {
    const bool local = group_.size() == 1 || entry.place == Place::kLent || entry.place == Place::kOwn;
    if (!local || !is_changed(entry, /*replaced_only=*/true)) continue;
    check_has_numbers(entry.named);
    take(entry);
  }
}

at::Tensor ModuleLink::value(const Entry& entry) {
  const auto unowned = memory_.unowned().find(entry.named.name);
  return unowned != memory_.unowned().end() ? unowned->second : memory_.whole_master(group_, entry.named.name);
}

void ModuleLink::update() {
  const at::NoGradGuard no_gradients;
  for (Entry& entry : entries_) {
    if (entry.place != Place::kAway) continue;
    const at::Tensor numbers = value(entry);  // collective
    entry.place = Place::kShown;
    if (!linked_) continue;
    {
      const auto reading = capture::reading_modules();
      give_memory(entry.named.tensor);
      entry.named.tensor.detach().copy_(numbers);
    }
    entry.shown = hash_of(entry.named.tensor);
  }
}

void ModuleLink::changed() {
  // A peer may still be copying this device's share of the new weights.
  if (lends_ && group_.size() > 1) group_.barrier();
  for (Entry& entry : entries_) {
    if (entry.place != Place::kLent && entry.place != Place::kOwn) continue;
    // As an optimizer's write would: a graph that saved the old numbers must not be run backward.
    if (linked_ && entry.place == Place::kLent && !entry.named.tensor.is_inference())
      entry.named.tensor.unsafeGetTensorImpl()->bump_version();
    note(entry);
  }
}

}  // namespace shoal::session
