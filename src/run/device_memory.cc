#include "run/device_memory.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/text.h"
#include "comm/collectives.h"
#include "lower/lower.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));

c10::ScalarType scalar_type(comm::DType dtype) {
  return dtype == comm::DType::kBF16 ? at::kBFloat16 : at::kFloat;
}
int64_t width_of(comm::DType dtype) { return static_cast<int64_t>(comm::element_bytes(dtype)); }

}  // namespace

DeviceMemory::DeviceMemory(comm::Group& world, const lower::Ownership& ownership,
                           const lower::GradientSchedule& schedule, kernels::Device& device)
    : ownership_(ownership),
      storage_(ownership.storage()),
      device_(device),
      rank_(world.rank()),
      num_microbatches_(schedule.num_microbatches),
      accumulators_offset_(lower::board_bytes(ownership.storage(), schedule.num_microbatches)),
      sum_in_(static_cast<size_t>(ownership.layout().dp), -1) {
  for (const lower::PartialSum& root : schedule.roots)
    if (int& first = sum_in_[static_cast<size_t>(root.dp)]; first < 0) first = root.accumulator;
  weights_ = world.window(static_cast<size_t>(ownership.weight_bytes(rank_)));
  gradients_ = world.window(
      static_cast<size_t>(accumulators_offset_ + schedule.num_accumulators * ownership.accumulator_bytes(rank_)));

  const bool of_shard = ownership.shards_gradients();
  if (of_shard) {
    for (const lower::Shard& piece : ownership.owned(rank_)) {
      shard_offset_.push_back(shard_elements_);
      shard_elements_ += align_up(piece.elements.size() * kFloatBytes) / kFloatBytes *
                           std::ssize(storage_.units[piece.unit].contributions);
    }
    shard_accumulators_ = device_.empty({schedule.num_accumulators, shard_elements_}, at::kFloat);
  }
  // A sum may replace this device's own root of it, when that root is kept in fp32; else it needs memory of
  // its own.
  const mesh::Role& role = ownership.role(rank_);
  const lower::PartialSum* const root = role.computes ? schedule.root_of(role.dp) : nullptr;
  for (const lower::Shard& piece : ownership.owned(rank_)) {
    const lower::Unit& unit = storage_.units[piece.unit];
    OwnedShard& owned = owned_.emplace_back(OwnedShard{piece, {}, {}});
    if (unit.dtype == comm::DType::kF32)
      owned.master = weight_view(piece.unit, piece.elements);
    else
      owned.master = device_.empty({piece.elements.size()}, at::kFloat);
    if (root != nullptr && ownership.makes(rank_, piece.unit, 0) &&
        (root->in_fp32 || unit.contributions[0] == comm::DType::kF32))
      owned.gradient =
          device_.view(accumulator(root->accumulator, piece.unit, 0) + piece.elements.begin * kFloatBytes,
                       {piece.elements.size()}, at::kFloat);
    else if (!of_shard)
      owned.gradient = device_.empty({piece.elements.size()}, at::kFloat);
  }
  for (OwnedShard& owned : owned_)
    if (of_shard)
      owned.gradient = device_.view(shard_accumulator(0, owned, 0, owned.shard.elements.begin),
                               {owned.shard.elements.size()}, at::kFloat);
}

at::Tensor DeviceMemory::weight_view(size_t unit, Range elements) const {
  const comm::DType dtype = storage_.units[unit].dtype;
  if (elements.empty()) return device_.empty({0}, scalar_type(dtype));
  return device_.view(weights_->mine().data() + ownership_.weight_offset(rank_, unit, elements.begin),
                 {elements.size()}, scalar_type(dtype));
}

void DeviceMemory::install(const std::string& name, const at::Tensor& tensor, c10::ScalarType dtype) {
  const std::vector<size_t> units = storage_.units_of(name);
  if (units.empty()) {
    at::Tensor &original = originals_[name], &read = others_[name];
    if (original.defined() && original.sizes() == tensor.sizes() &&
        original.scalar_type() == tensor.scalar_type() && read.scalar_type() == dtype) {
      const c10::InferenceMode as_it_was_made(original.is_inference());
      original.copy_(tensor);
      if (!read.is_same(original)) read.copy_(original);
      return;
    }
    original = tensor.clone(at::MemoryFormat::Contiguous);
    read = original.to(dtype);
    return;
  }
  for (size_t u : units) {
    const auto kept = std::ranges::equal_range(ownership_.kept(rank_), u, {}, &lower::Shard::unit);
    if (kept.empty()) continue;  // what is owned is kept
    const lower::Unit& unit = storage_.units[u];
    const at::Tensor part = unit.part == graph::kWhole
                                ? tensor
                                : device_.take_part(tensor, storage_.cuts.at(name), storage_.num_parts,
                                                     unit.part);
    const at::Tensor flat = part.contiguous().view({-1});
    for (const lower::Shard& piece : kept)
      weight_view(u, piece.elements).copy_(flat.slice(0, piece.elements.begin, piece.elements.end));
    for (OwnedShard& owned : owned_of(u))
      owned.master.copy_(flat.slice(0, owned.shard.elements.begin, owned.shard.elements.end));
  }
}

void DeviceMemory::adopt(const std::string& name, const at::Tensor& tensor) {
  originals_.at(name) = others_.at(name) = tensor;
}

at::Tensor DeviceMemory::value(const std::string& name, int part) const {
  if (const auto unit = storage_.find(name, part)) {
    const Range all{0, storage_.units[*unit].numel};
    if (!ownership_.keeps(rank_, *unit, all)) return {};
    return weight_view(*unit, all).view(storage_.units[*unit].shape);
  }
  const auto other = others_.find(name);
  return other == others_.end() ? at::Tensor() : other->second;
}

void DeviceMemory::read_weights(int rank, size_t unit, Range elements, std::byte* into) {
  const auto bytes = static_cast<size_t>(elements.size() * width_of(storage_.units[unit].dtype));
  const auto offset = static_cast<size_t>(ownership_.weight_offset(rank, unit, elements.begin));
  const std::byte* from =
      rank == rank_ ? weights_->mine().data() + offset : weights_->read(rank, offset, bytes, {into, bytes});
  if (from != into) device_.copy(into, from, bytes);
  if (rank != rank_) traffic_.weights += static_cast<int64_t>(bytes);
}

at::Tensor DeviceMemory::gather(size_t u) {
  const lower::Unit& unit = storage_.units[u];
  const at::Tensor whole = device_.empty(unit.shape, scalar_type(unit.dtype));
  auto* const data = static_cast<std::byte*>(whole.mutable_data_ptr());
  if (ownership_.keeps(rank_, u, {0, unit.numel})) {
    read_weights(rank_, u, {0, unit.numel}, data);
  } else {
    for (const auto& [rank, elements] : ownership_.sharers(u))
      read_weights(rank, u, elements, data + elements.begin * width_of(unit.dtype));
  }
  return whole;
}

at::Tensor DeviceMemory::whole(const std::string& name) {
  const std::vector<size_t> units = storage_.units_of(name);
  if (units.empty()) {
    const at::Tensor kept = value(name, graph::kWhole);
    return kept.defined() ? kept.clone() : kept;
  }
  std::vector<at::Tensor> parts;
  for (size_t u : units) parts.push_back(gather(u));
  return storage_.units[units[0]].part == graph::kWhole ? parts[0]
                                                        : device_.join_parts(parts, storage_.cuts.at(name));
}

at::Tensor DeviceMemory::whole_master(comm::Group& group, const std::string& name) {
  std::vector<at::Tensor> parts;
  const std::vector<size_t> units = storage_.units_of(name);
  for (size_t u : units) {
    std::vector<std::byte> mine;
    for (const auto& [rank, elements] : ownership_.sharers(u)) {
      if (rank != rank_) continue;
      const OwnedShard& owned = owner_of(u, elements);
      const auto* from = owned.master.const_data_ptr<float>() + (elements.begin - owned.shard.elements.begin);
      const auto bytes = static_cast<size_t>(elements.size() * kFloatBytes);
      if (bytes == 0) continue;
      mine.resize(mine.size() + bytes);
      device_.copy(mine.data() + mine.size() - bytes, from, bytes);
    }
    const auto all = comm::all_gather(group, mine);
    std::vector<size_t> taken(all.size(), 0);
    const at::Tensor& whole = parts.emplace_back(device_.empty(storage_.units[u].shape, at::kFloat));
    for (const auto& [rank, elements] : ownership_.sharers(u)) {
      const auto from = static_cast<size_t>(rank), bytes = static_cast<size_t>(elements.size() * kFloatBytes);
      if (bytes > 0)
        device_.copy(whole.mutable_data_ptr<float>() + elements.begin, all[from].data() + taken[from], bytes);
      taken[from] += bytes;
    }
  }
  return storage_.units[units[0]].part == graph::kWhole ? parts[0]
                                                        : device_.join_parts(parts, storage_.cuts.at(name));
}

at::Tensor DeviceMemory::current(const std::string& name) {
  const at::Tensor kept = value(name, graph::kWhole);
  return kept.defined() ? kept : whole(name);
}

std::span<OwnedShard> DeviceMemory::owned_of(size_t unit) {
  const auto [begin, end] =
      std::ranges::equal_range(owned_, unit, {}, [](const OwnedShard& owned) { return owned.shard.unit; });
  return {begin, end};
}

OwnedShard& DeviceMemory::owner_of(size_t unit, Range elements) {
  for (OwnedShard& owned : owned_of(unit))
    if (owned.shard.elements.contains(elements)) return owned;
  throw JobError(cat("device memory - gradient of ", storage_.units[unit].parameter, ": rank ", rank_,
                     " does not own elements [", elements.begin, ", ", elements.end, ")"));
}

std::span<float> DeviceMemory::gradient(size_t unit, Range elements) {
  OwnedShard& owned = owner_of(unit, elements);
  return {owned.gradient.mutable_data_ptr<float>() + (elements.begin - owned.shard.elements.begin),
          static_cast<size_t>(elements.size())};
}

float* DeviceMemory::shard_accumulator(int index, const OwnedShard& owned, size_t contribution, int64_t element) {
  const auto piece = static_cast<size_t>(&owned - owned_.data());
  const int64_t each = align_up(owned.shard.elements.size() * kFloatBytes) / kFloatBytes;
  return shard_accumulators_.mutable_data_ptr<float>() + index * shard_elements_ + shard_offset_[piece] +
         static_cast<int64_t>(contribution) * each + (element - owned.shard.elements.begin);
}

void DeviceMemory::publish_masters() {
  for (OwnedShard& owned : owned_)
    if (storage_.units[owned.shard.unit].dtype != comm::DType::kF32)
      weight_view(owned.shard.unit, owned.shard.elements).copy_(owned.master);
}

void DeviceMemory::gather_weights() {
  if (ownership_.replicates_optimizer() || ownership_.shards_parameters()) return;
  for (size_t u : ownership_.held(rank_))
    for (const auto& [rank, elements] : ownership_.sharers(u))
      if (rank != rank_)
        read_weights(rank, u, elements,
                     weights_->mine().data() + ownership_.weight_offset(rank_, u, elements.begin));
}

void DeviceMemory::gather_gradients() {
  for (size_t u : ownership_.held(rank_)) {
    for (const auto& [rank, elements] : ownership_.sharers(u)) {
      if (rank == rank_) continue;
      const std::span<float> into = gradient(u, elements);
      const std::span<std::byte> bytes = std::as_writable_bytes(into);
      const int first = sum_in_[static_cast<size_t>(ownership_.role(rank).dp)];
      const int64_t offset = accumulators_offset_ + first * ownership_.accumulator_bytes(rank) +
                             ownership_.accumulator_offset(rank, u, 0) + elements.begin * kFloatBytes;
      const std::byte* from = gradients_->read(rank, static_cast<size_t>(offset), bytes.size(), bytes);
      if (from != bytes.data()) device_.copy(bytes.data(), from, bytes.size());
      traffic_.gradients += std::ssize(bytes);
    }
  }
}

const std::byte* DeviceMemory::read_sum(const lower::PartialSum& sum, size_t unit, size_t contribution,
                                         Range elements, comm::DType dtype, std::vector<std::byte>& scratch) {
  const int rank = mesh::rank_of(ownership_.layout(), ownership_.pp_of(unit, contribution), sum.dp,
                                 ownership_.gradient_group(rank_, unit));
  const int64_t begin = elements.begin * width_of(dtype), bytes = elements.size() * width_of(dtype);
  if (rank == rank_) return accumulator(sum.accumulator, unit, contribution) + begin;
  if (!gradients_->in_place()) scratch.resize(static_cast<size_t>(bytes));
  traffic_.gradients += bytes;
  return gradients_->read(rank,
                          static_cast<size_t>(accumulators_offset_ + sum.accumulator * ownership_.accumulator_bytes(rank) +
                                              ownership_.accumulator_offset(rank, unit, contribution) + begin),
                          static_cast<size_t>(bytes), scratch);
}

double DeviceMemory::read_board(int rank, int64_t index) {
  if (rank == rank_) return board()[index];
  double value;
  std::array<std::byte, sizeof value> scratch;
  std::memcpy(&value,
              gradients_->read(rank, static_cast<size_t>(index) * sizeof value, sizeof value, scratch),
              sizeof value);
  traffic_.boards += static_cast<int64_t>(sizeof value);
  return value;
}

int64_t DeviceMemory::weight_bytes() const {
  int64_t bytes = std::ssize(weights_->mine());
  for (const OwnedShard& owned : owned_)
    if (storage_.units[owned.shard.unit].dtype != comm::DType::kF32)
      bytes += static_cast<int64_t>(owned.master.nbytes());
  return bytes;
}

int64_t DeviceMemory::module_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : originals_) {
    bytes += static_cast<int64_t>(tensor.nbytes());
    if (!others_.at(name).is_same(tensor)) bytes += static_cast<int64_t>(others_.at(name).nbytes());
  }
  return bytes;
}

int64_t DeviceMemory::gradient_bytes() const {
  int64_t bytes = std::ssize(gradients_->mine()) - accumulators_offset_;
  if (shard_accumulators_.defined()) return bytes + static_cast<int64_t>(shard_accumulators_.nbytes());
  const std::byte* begin = gradients_->mine().data();
  for (const OwnedShard& owned : owned_) {
    const auto* data = static_cast<const std::byte*>(owned.gradient.const_data_ptr());
    if (data < begin || data >= begin + gradients_->mine().size())
      bytes += static_cast<int64_t>(owned.gradient.nbytes());
  }
  return bytes;
}

}  // namespace shoal::run
