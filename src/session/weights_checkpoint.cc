#include "session/weights_checkpoint.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/text.h"
#include "comm/all_or_none.h"
#include "session/run_definition.h"
#include "shoal/error.h"
#include "state/checkpoint.h"

namespace shoal::session {
namespace {

const char* safetensors_dtype(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return "F32";
    case at::kDouble:
      return "F64";
    case at::kBFloat16:
      return "BF16";
    case at::kHalf:
      return "F16";
    case at::kLong:
      return "I64";
    case at::kInt:
      return "I32";
    case at::kShort:
      return "I16";
    case at::kChar:
      return "I8";
    case at::kByte:
      return "U8";
    case at::kBool:
      return "BOOL";
    default:
      throw InputError(
          cat("checkpoint - dtype: tensors of ", c10::toString(tensor.scalar_type()), " cannot be saved"));
  }
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}
std::span<std::byte> mutable_bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

state::TensorSpec spec_of(const lower::Storage& storage, const lower::Unit& unit, const std::string& role) {
  state::TensorSpec spec{unit.parameter, role, "F32", storage.global_shape(unit), {}};
  if (unit.part != graph::kWhole) {
    const graph::Cut& cut = storage.cuts.at(unit.parameter);
    spec.division = state::Division{unit.part, storage.num_parts, cut.dim, cut.outer};
  }
  return spec;
}

// All units by role, then what no device owns. The index of a unit's weight is the unit's own.
std::vector<state::TensorSpec> specs_of(const Session& session, Weights& weights) {
  std::vector<state::TensorSpec> specs;
  const auto add_units = [&](const std::string& role) {
    for (const lower::Unit& unit : weights.storage().units)
      specs.push_back(spec_of(weights.storage(), unit, role));
  };
  add_units("weight");
  for (const auto& [role, pieces] : weights.optimizer().state()) add_units(role);
  for (const auto& [name, tensor] : weights.memory().unowned()) {
    const bool is_buffer = std::ranges::any_of(session.tensors.buffers,
                                               [&](const auto& named) { return named.name == name; });
    specs.push_back(
        {name, is_buffer ? "buffer" : "weight", safetensors_dtype(tensor), tensor.sizes().vec(), {}});
  }
  return specs;
}

// `visit(index in specs_of(), elements, tensor)`, for `pieces` of what this device owns.
template <class Visit>
void for_each_owned(Weights& weights, const std::vector<lower::Shard>& pieces, const Visit& visit) {
  const size_t num_units = weights.storage().units.size();
  for (const lower::Shard& piece : pieces) {
    const run::OwnedShard& owned = weights.memory().owner_of(piece.unit, piece.elements);
    const auto index = static_cast<size_t>(&owned - weights.memory().owned().data());
    const auto slice = [&](const at::Tensor& tensor) {
      return tensor.narrow(0, piece.elements.begin - owned.shard.elements.begin, piece.elements.size());
    };
    visit(piece.unit, piece.elements, slice(owned.master));
    size_t first = num_units;
    for (const auto& [role, state] : weights.optimizer().state()) {
      visit(first + piece.unit, piece.elements, slice(state[index]));
      first += num_units;
    }
  }
}

// `index`: of each of `wanted` in the checkpoint.
void read(const Session& session, Weights& weights, const state::Checkpoint& checkpoint,
          const std::vector<state::TensorSpec>& wanted, const std::vector<size_t>& index) {
  for_each_owned(weights, weights.ownership().owned(session.world.rank()),
                 [&](size_t tensor, Range elements, const at::Tensor& value) {
                   checkpoint.read(index[tensor], elements, mutable_bytes_of(value));
                 });
  const std::vector<capture::NamedTensor> all = session.tensors.all();
  const auto unowned = weights.memory().unowned();
  size_t tensor = wanted.size() - unowned.size();
  for (const auto& [name, value] : unowned) {
    const at::Tensor fresh = at::empty(value.sizes(), value.options());
    checkpoint.read(index[tensor++], {0, value.numel()}, mutable_bytes_of(fresh));
    weights.install(*std::ranges::find(all, name, &capture::NamedTensor::name), fresh);
  }
}

}  // namespace

void save_weights(const Session& session, Weights& weights, const std::filesystem::path& folder) {
  state::Contents contents{session.definition, session.steps, session.samples, specs_of(session, weights)};
  contents.run["notes"] = session.notes;
  std::vector<state::Slice> slices;
  const int rank = session.world.rank();
  for_each_owned(weights, weights.ownership().share(rank),
                 [&](size_t tensor, Range elements, const at::Tensor& value) {
                   slices.push_back({tensor, elements, bytes_of(value)});
                 });
  if (rank == 0) {
    const auto& unowned = weights.memory().unowned();
    size_t tensor = contents.tensors.size() - unowned.size();
    for (const auto& [name, value] : unowned)
      slices.push_back({tensor++, {0, value.numel()}, bytes_of(value)});
  }
  session.calls.set_activity(session.calls.now(cat("save ", folder.filename().string())));
  state::save(weights.group(), folder, contents, slices);
}

void load_weights(Session& session, Weights& weights, const std::filesystem::path& folder) {
  session.calls.set_activity(session.calls.now(cat("load ", folder.filename().string())));
  comm::Group& group = weights.group();
  std::optional<state::Checkpoint> checkpoint;
  const std::vector<state::TensorSpec> wanted = specs_of(session, weights);
  std::vector<size_t> index;
  comm::all_or_none(group, [&] {
    checkpoint.emplace(folder);
    check_same_run(session.definition, checkpoint->contents().run);
    for (const state::TensorSpec& spec : wanted) index.push_back(checkpoint->find(spec));
    return "";
  });
  weights.set_half_loaded(true);
  comm::all_or_none(group, [&] {
    read(session, weights, *checkpoint, wanted, index);
    return "";
  });
  session.steps = checkpoint->contents().step;
  session.samples = checkpoint->contents().samples;
  weights.memory().publish_masters();
  group.barrier();
  weights.memory().gather_weights();
  group.barrier();
  weights.set_half_loaded(false);
  if (weights.link()) weights.link()->changed();
}

}  // namespace shoal::session
