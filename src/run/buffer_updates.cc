#include "run/buffer_updates.h"

#include <ATen/ops/empty.h>

#include <cstring>

#include "base/blocks.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "shoal/error.h"

namespace shoal::run {

BufferUpdates::BufferUpdates(const graph::Graph& graph)
    : graph_(graph),
      first_output_(static_cast<int>(graph::outputs(graph).size() - graph.buffer_update.observed.size())) {
  if (!graph.buffer_update.buffers.empty())
    executor_ = std::make_unique<Executor>(*graph.buffer_update.update);
}

void BufferUpdates::observe(int64_t microbatch, int index, const at::Tensor& value) {
  auto& values = observed_[microbatch];
  values.resize(graph_.buffer_update.observed.size());
  // A copy of its own, dense: the executor reuses its memory, and these bytes travel.
  at::Tensor copy = at::empty(value.sizes(), value.options());
  copy.copy_(value);
  values[static_cast<size_t>(index - first_output_)] = std::move(copy);
}

void BufferUpdates::apply(comm::Communicator& communicator, DeviceMemory& memory, int64_t num_microbatches) {
  if (!executor_) return;
  std::vector<std::byte> mine;
  for (const auto& [microbatch, values] : observed_) {
    for (const at::Tensor& value : values) {
      const auto* data = static_cast<const std::byte*>(value.const_data_ptr());
      mine.insert(mine.end(), data, data + value.nbytes());
    }
  }
  observed_.clear();
  const auto everyones = comm::all_gather(communicator, mine);

  const graph::Graph& update = *graph_.buffer_update.update;
  std::map<std::string, at::Tensor> buffers;  // as they are after the microbatches so far
  for (const graph::Input& input : update.inputs)
    if (input.kind == graph::InputKind::kBuffer) buffers[input.name] = memory.value(input.name);
  for (int rank = 0; rank < communicator.size(); ++rank) {
    std::span<const std::byte> bytes = everyones[static_cast<size_t>(rank)];
    for (int64_t m = 0; m < share(num_microbatches, communicator.size(), rank).size(); ++m) {
      std::vector<at::Tensor> inputs;
      for (const graph::Input& input : update.inputs) {
        at::Tensor value;
        if (input.kind == graph::InputKind::kBuffer) value = buffers.at(input.name);
        if (input.kind == graph::InputKind::kBatch) {
          const graph::TensorType& type = update.type(input.value);
          value = at::empty(type.shape, at::TensorOptions().dtype(type.dtype));
          if (bytes.size() < value.nbytes())
            throw JobError(cat("buffer update - rank ", rank, ": it sent too few bytes; this is a defect"));
          if (value.nbytes() > 0) std::memcpy(value.mutable_data_ptr(), bytes.data(), value.nbytes());
          bytes = bytes.subspan(value.nbytes());
        }
        inputs.push_back(std::move(value));
      }
      std::vector<at::Tensor> results(graph_.buffer_update.buffers.size());
      Executor::Run run;
      run.inputs = inputs;
      run.sink = [&](int index, const at::Tensor& value) {
        results[static_cast<size_t>(index)] = value.clone();
      };
      executor_->run(run);
      for (size_t i = 0; i < results.size(); ++i) buffers[graph_.buffer_update.buffers[i]] = results[i];
    }
  }
  for (const std::string& name : graph_.buffer_update.buffers) {
    const at::Tensor& value = buffers.at(name);
    memory.install(name, value.to(memory.unowned().at(name).scalar_type()), value.scalar_type());
  }
}

}  // namespace shoal::run
