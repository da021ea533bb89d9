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

// Every microbatch's observed values, whoever computed it; devices that share one have seen the same.
std::map<int64_t, std::vector<std::byte>> BufferUpdates::gather(comm::Group& world, int64_t num_microbatches) {
  struct Head {
    int64_t microbatch, bytes;
  };
  std::vector<std::byte> mine;
  const auto append = [&](const void* data, size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(data);
    mine.insert(mine.end(), begin, begin + bytes);
  };
  for (const auto& [microbatch, values] : observed_) {
    Head head{microbatch, 0};
    for (const at::Tensor& value : values) head.bytes += static_cast<int64_t>(value.nbytes());
    append(&head, sizeof head);
    for (const at::Tensor& value : values) append(value.const_data_ptr(), value.nbytes());
  }
  observed_.clear();
  std::map<int64_t, std::vector<std::byte>> all;
  for (const std::vector<std::byte>& theirs : comm::all_gather(world, mine)) {
    for (size_t at = 0; at < theirs.size();) {
      Head head;
      std::memcpy(&head, theirs.data() + at, sizeof head);
      const auto begin = theirs.begin() + static_cast<std::ptrdiff_t>(at + sizeof head);
      all.try_emplace(head.microbatch, begin, begin + head.bytes);
      at += sizeof head + static_cast<size_t>(head.bytes);
    }
  }
  if (static_cast<int64_t>(all.size()) != num_microbatches)
    throw JobError(cat("buffer update - microbatches: got ", all.size(), ", want ", num_microbatches,
                       "; this is a defect"));
  return all;
}

void BufferUpdates::apply(comm::Group& world, DeviceMemory& memory, int64_t num_microbatches) {
  if (!executor_) return;
  const std::map<int64_t, std::vector<std::byte>> all = gather(world, num_microbatches);
  const graph::Graph& update = *graph_.buffer_update.update;
  std::map<std::string, at::Tensor> buffers;  // as they are after the microbatches so far
  for (const graph::Input& input : update.inputs)
    if (input.kind == graph::InputKind::kBuffer)
      buffers[input.name] = memory.value(input.name, graph::kWhole);
  for (const auto& [microbatch, observed] : all) {
    std::span<const std::byte> bytes = observed;
    std::vector<at::Tensor> inputs;
    for (const graph::Input& input : update.inputs) {
      at::Tensor value;
      if (input.kind == graph::InputKind::kBuffer) value = buffers.at(input.name);
      if (input.kind == graph::InputKind::kBatch) {
        const graph::TensorType& type = update.type(input.value);
        value = at::empty(type.shape, at::TensorOptions().dtype(type.dtype));
        if (bytes.size() < value.nbytes())
          throw JobError(
              cat("buffer update - microbatch ", microbatch, ": got too few bytes; this is a defect"));
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
  for (const std::string& name : graph_.buffer_update.buffers) {
    const at::Tensor& value = buffers.at(name);
    memory.install(name, value.to(memory.unowned().at(name).scalar_type()), value.scalar_type());
  }
}

}  // namespace shoal::run
