#include "run/device_memory.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

c10::ScalarType scalar_type(comm::DType dtype) {
  return dtype == comm::DType::kBF16 ? at::kBFloat16 : at::kFloat;
}

at::Tensor view_of(void* data, at::IntArrayRef shape, c10::ScalarType dtype) {
  return at::from_blob(data, shape, at::TensorOptions().dtype(dtype));
}

}  // namespace

DeviceMemory::DeviceMemory(comm::Communicator& communicator, const lower::Storage& storage,
                           const lower::Program& program)
    : communicator_(communicator), storage_(storage), num_microbatches_(program.num_microbatches) {
  const int64_t board_bytes =
      static_cast<int64_t>(sizeof(double)) * (num_microbatches_ + storage.num_blocks + 1);
  slots_offset_ = align_up(board_bytes);
  window_bytes_ = slots_offset_ + program.num_slots * storage.slot_bytes + storage.weight_bytes;
  weights_ = communicator.window(static_cast<size_t>(storage.weight_bytes));
  gradients_ =
      communicator.window(static_cast<size_t>(slots_offset_ + program.num_slots * storage.slot_bytes));
  for (int rank = 0; rank < communicator.size(); ++rank)
    pieces_.push_back(storage.owned(communicator.size(), rank));
  for (size_t i = 0; i < storage.parameters.size(); ++i) index_[storage.parameters[i].name] = i;

  // A sum may replace this device's own root of it, when that root is kept in fp32; else it needs memory of
  // its own.
  const auto own_sum =
      std::find_if(program.roots.begin(), program.roots.end(),
                   [&](const lower::SlotRoot& root) { return root.rank == communicator.rank(); });
  for (const lower::Piece& piece : pieces_[static_cast<size_t>(communicator.rank())]) {
    const lower::StoredParameter& parameter = storage.parameters[piece.parameter];
    OwnedPiece owned{piece, {}, {}};
    if (parameter.dtype == comm::DType::kF32)
      owned.master = weight_view(piece.parameter, piece.elements);
    else
      owned.master = at::empty({piece.elements.size()}, at::kFloat);
    if (parameter.contributions[0].dtype == comm::DType::kF32 || !own_sum->is_leaf()) {
      std::byte* place = slot(own_sum->slot) + parameter.contributions[0].offset +
                         piece.elements.begin * static_cast<int64_t>(sizeof(float));
      owned.gradient = view_of(place, {piece.elements.size()}, at::kFloat);
    } else {
      owned.gradient = at::empty({piece.elements.size()}, at::kFloat);
    }
    owned_.push_back(std::move(owned));
  }
}

at::Tensor DeviceMemory::weight_view(size_t index, Range elements) const {
  const lower::StoredParameter& parameter = storage_.parameters[index];
  std::byte* data = weights_->mine().data() + parameter.weight_offset +
                    elements.begin * static_cast<int64_t>(comm::element_bytes(parameter.dtype));
  return view_of(data, {elements.size()}, scalar_type(parameter.dtype));
}

void DeviceMemory::install(const std::string& name, const at::Tensor& tensor, c10::ScalarType dtype) {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    originals_[name] = tensor.clone();
    others_[name] = originals_[name].to(dtype);
    return;
  }
  const lower::StoredParameter& parameter = storage_.parameters[found->second];
  const at::Tensor flat = tensor.contiguous().view({-1});
  weight_view(found->second, {0, parameter.numel}).copy_(flat);
  for (OwnedPiece& owned : owned_)
    if (owned.piece.parameter == found->second)
      owned.master.copy_(flat.slice(0, owned.piece.elements.begin, owned.piece.elements.end));
}

at::Tensor DeviceMemory::value(const std::string& name) const {
  const auto found = index_.find(name);
  if (found != index_.end()) {
    const lower::StoredParameter& parameter = storage_.parameters[found->second];
    return weight_view(found->second, {0, parameter.numel}).view(parameter.shape);
  }
  const auto other = others_.find(name);
  return other == others_.end() ? at::Tensor() : other->second;
}

void DeviceMemory::publish_masters() {
  for (OwnedPiece& owned : owned_)
    if (storage_.parameters[owned.piece.parameter].dtype != comm::DType::kF32)
      weight_view(owned.piece.parameter, owned.piece.elements).copy_(owned.master);
}

void DeviceMemory::gather_weights() {
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    if (rank == communicator_.rank()) continue;
    for (const lower::Piece& piece : pieces_of(rank)) {
      const lower::StoredParameter& parameter = storage_.parameters[piece.parameter];
      const auto element = static_cast<int64_t>(comm::element_bytes(parameter.dtype));
      const auto offset = static_cast<size_t>(parameter.weight_offset + piece.elements.begin * element);
      const auto bytes = static_cast<size_t>(piece.elements.size() * element);
      const std::span<std::byte> mine = weights_->mine().subspan(offset, bytes);
      const std::byte* theirs = weights_->read(rank, offset, bytes, mine);
      if (theirs != mine.data()) std::memcpy(mine.data(), theirs, bytes);
    }
  }
}

const std::byte* DeviceMemory::read_slot(int rank, int index, int64_t offset, size_t bytes,
                                         std::vector<std::byte>& scratch) {
  if (rank == communicator_.rank()) return slot(index) + offset;
  if (!gradients_->in_place()) scratch.resize(bytes);
  return gradients_->read(rank, static_cast<size_t>(slots_offset_ + index * storage_.slot_bytes + offset),
                          bytes, scratch);
}

double DeviceMemory::read_board(int rank, int64_t index) {
  if (rank == communicator_.rank()) return board()[index];
  double value;
  std::array<std::byte, sizeof value> scratch;
  std::memcpy(&value,
              gradients_->read(rank, static_cast<size_t>(index) * sizeof value, sizeof value, scratch),
              sizeof value);
  return value;
}

}  // namespace shoal::run
