#include "run/transfers.h"

#include <ATen/EmptyTensor.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "base/text.h"
#include "lower/local_graph.h"
#include "shoal/error.h"

namespace shoal::run {
namespace {

constexpr int kSender = 0, kReceiver = 1;

// What stands before each value.
struct Head {
  static constexpr size_t kMost = 15;
  int64_t dims;
  std::array<int64_t, kMost> strides;
};
static_assert(sizeof(Head) == lower::Transfer::kHeadBytes);

// Memory from `data` on, seen with these sizes and strides.
at::Tensor see(kernels::Device& device, std::byte* data, at::IntArrayRef sizes, at::IntArrayRef strides,
               c10::ScalarType dtype) {
  const size_t width = c10::elementSize(dtype), bytes = at::detail::computeStorageNbytes(sizes, strides, width);
  return device.view(data, {static_cast<int64_t>(bytes / width)}, dtype).as_strided(sizes, strides);
}

}  // namespace

Transfers::Transfers(comm::Group& world, const lower::Program& program, kernels::Device& device)
    : program_(program), device_(device) {
  std::vector<size_t> order(program.transfers.size());  // both ends meet in the order of numbers
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return program.transfers[i].number; });
  std::vector<std::unique_ptr<End>> made(order.size());
  for (const size_t i : order) {
    const lower::TransferOperands& transfer = program.transfers[i];
    const std::array members = {transfer.sends ? program.rank : transfer.peer,
                                transfer.sends ? transfer.peer : program.rank};
    made[i] = std::make_unique<End>(End{.group = comm::Group(world, members), .window = {}, .scratch = {}});
    const int64_t bytes = transfer.sends ? transfer.slots * transfer.bytes : 0;
    made[i]->window = made[i]->group.window(static_cast<size_t>(bytes));
    if (!transfer.sends && !made[i]->window->in_place()) made[i]->scratch.resize(static_cast<size_t>(transfer.slots));
  }
  for (auto& end : made) ends_.push_back(std::move(*end));
}

int64_t Transfers::offset(size_t index) const {
  const lower::TransferOperands& transfer = program_.transfers[index];
  return ends_[index].messages % transfer.slots * transfer.bytes;
}

void Transfers::await(End& end, int member, int64_t count, Waits& waits) {
  waits.note(end.group.world_rank(member), [&] { end.group.await(member, static_cast<uint64_t>(count)); });
}

void Transfers::send(size_t index, const std::vector<at::Tensor>& values, Waits& waits) {
  const lower::TransferOperands& transfer = program_.transfers.at(index);
  End& end = ends_[index];
  if (end.messages >= transfer.slots) await(end, kReceiver, end.messages - transfer.slots + 1, waits);
  std::byte* const slot = end.window->mine().data() + offset(index);
  int64_t at = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const at::Tensor& value = values[i];
    const int64_t room = lower::Transfer::room_for(value.sizes(), value.strides(), value.scalar_type());
    if (value.dim() > std::ssize(Head{}.strides) || at + lower::Transfer::kHeadBytes + room > transfer.bytes)
      throw JobError(cat("transfer ", transfer.number, " - value %", transfer.values[i], ": it takes ", room,
                         " bytes, more than was planned; this is a defect"));
    Head head{.dims = value.dim(), .strides = {}};
    std::ranges::copy(value.strides(), head.strides.begin());
    std::memcpy(slot + at, &head, sizeof head);
    at += lower::Transfer::kHeadBytes;
    if (value.is_non_overlapping_and_dense()) {
      if (value.nbytes() > 0) device_.copy(slot + at, value.const_data_ptr(), value.nbytes());
    } else if (value.numel() > 0) {
      // Elements that share memory have one number; each place is written once.
      at::Tensor from = value;
      for (int64_t dim = 0; dim < from.dim(); ++dim)
        if (from.stride(dim) == 0 && from.size(dim) > 1) from = from.narrow(dim, 0, 1);
      see(device_, slot + at, from.sizes(), from.strides(), value.scalar_type()).copy_(from);
    }
    at += room;
  }
  ++end.messages;
  end.group.post();
}

std::vector<at::Tensor> Transfers::receive(size_t index, Waits& waits) {
  const lower::TransferOperands& transfer = program_.transfers.at(index);
  End& end = ends_[index];
  await(end, kSender, end.messages + 1, waits);
  const int64_t from = offset(index);
  std::span<std::byte> scratch;
  if (!end.scratch.empty()) {
    auto& bytes = end.scratch[static_cast<size_t>(end.messages % transfer.slots)];
    bytes.resize(static_cast<size_t>(transfer.bytes));
    scratch = bytes;
  }
  const std::byte* const slot =
      end.window->read(kSender, static_cast<size_t>(from), static_cast<size_t>(transfer.bytes), scratch);
  ++end.messages;
  std::vector<at::Tensor> values;
  int64_t at = 0;
  for (const graph::ValueId id : transfer.values) {
    const graph::TensorType& type = program_.values.at(id);
    Head head;
    std::memcpy(&head, slot + at, sizeof head);
    at += lower::Transfer::kHeadBytes;
    const std::vector<int64_t> strides(head.strides.begin(), head.strides.begin() + head.dims);
    // Read-only by contract: no node changes its input.
    values.push_back(see(device_, const_cast<std::byte*>(slot + at), type.shape, strides, type.dtype));
    at += lower::Transfer::room_for(type.shape, strides, type.dtype);
  }
  return values;
}

void Transfers::release() {
  for (size_t i = 0; i < ends_.size(); ++i)
    if (!program_.transfers[i].sends) ends_[i].group.post();
}

int64_t Transfers::window_bytes() const {
  int64_t bytes = 0;
  for (const End& end : ends_) bytes += std::ssize(end.window->mine());
  return bytes;
}

}  // namespace shoal::run
