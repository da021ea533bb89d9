#include "run/buffer_updates.h"

#include <cstring>

#include "base/blocks.h"
#include "base/text.h"
#include "comm/collectives.h"
#include "shoal/error.h"

namespace shoal::run {

BufferUpdates::BufferUpdates(const graph::Graph& graph, kernels::Device& device) : graph_(graph), device_(device) {
  for (size_t i = 0; i < graph.buffer_update.observed.size(); ++i)
    if (graph.buffer_update.observed[i] != graph::kNoValue) here_.push_back(i);
  first_output_ = static_cast<int>(graph::outputs(graph).size() - here_.size());
  if (!graph.buffer_update.buffers.empty()) {
    compiled_ = std::make_unique<CompiledGraph>(*graph.buffer_update.update, device);
    frame_ = std::make_unique<Frame>(*compiled_);
  }
}

void BufferUpdates::observe(int64_t microbatch, int index, const at::Tensor& value) {
  // A copy of its own, dense: the frame reuses its memory, and these bytes travel.
  at::Tensor copy = device_.empty(value.sizes(), value.scalar_type());
  copy.copy_(value);
  observed_[{microbatch, here_.at(static_cast<size_t>(index - first_output_))}] = std::move(copy);
}

// What was observed of every microbatch, in order, whoever computed it; devices that share one have seen the same.
std::map<int64_t, BufferUpdates::Seen> BufferUpdates::gather(comm::Group& world, int64_t num_microbatches) {
  struct Head {
    int64_t microbatch, index, bytes;
  };
  std::vector<std::byte> mine;
  const auto append = [&](size_t bytes) {
    mine.resize(mine.size() + bytes);
    return mine.data() + mine.size() - bytes;
  };
  for (const auto& [key, value] : observed_) {
    const Head head{key.first, static_cast<int64_t>(key.second), static_cast<int64_t>(value.nbytes())};
    std::memcpy(append(sizeof head), &head, sizeof head);
    if (head.bytes > 0) device_.copy(append(value.nbytes()), value.const_data_ptr(), value.nbytes());
  }
  observed_.clear();
  std::map<int64_t, Seen> all;
  for (const std::vector<std::byte>& theirs : comm::all_gather(world, mine)) {
    for (size_t at = 0; at < theirs.size();) {
      Head head;
      std::memcpy(&head, theirs.data() + at, sizeof head);
      const auto begin = theirs.begin() + static_cast<std::ptrdiff_t>(at + sizeof head);
      all[head.microbatch].try_emplace(static_cast<size_t>(head.index), begin, begin + head.bytes);
      at += sizeof head + static_cast<size_t>(head.bytes);
    }
  }
  if (static_cast<int64_t>(all.size()) != num_microbatches)
    throw JobError(cat("buffer update - microbatches: got ", all.size(), ", want ", num_microbatches,
                       "; this is a defect"));
  return all;
}

void BufferUpdates::apply(comm::Group& world, DeviceMemory& memory, int64_t num_microbatches) {
  if (!frame_) return;
  const std::map<int64_t, Seen> all = gather(world, num_microbatches);
  const graph::Graph& update = *graph_.buffer_update.update;
  std::map<std::string, at::Tensor> buffers;  // as they are after the microbatches so far
  for (const graph::Input& input : update.inputs)
    if (input.kind == graph::InputKind::kBuffer)
      buffers[input.name] = memory.value(input.name, graph::kWhole);
  for (const auto& [microbatch, observed] : all) {
    std::vector<at::Tensor> inputs;
    for (const graph::Input& input : update.inputs) {
      at::Tensor value;
      if (input.kind == graph::InputKind::kBuffer) value = buffers.at(input.name);
      if (input.kind == graph::InputKind::kBatch) {
        const graph::TensorType& type = update.type(input.value);
        value = device_.empty(type.shape, type.dtype);
        const auto bytes = observed.find(static_cast<size_t>(std::stoul(input.name)));
        if (bytes == observed.end() || bytes->second.size() != value.nbytes())
          throw JobError(cat("buffer update - microbatch ", microbatch, ": what it observed as number ", input.name,
                             " did not come; this is a defect"));
        if (value.nbytes() > 0) device_.copy(value.mutable_data_ptr(), bytes->second.data(), value.nbytes());
      }
      inputs.push_back(std::move(value));
    }
    std::vector<at::Tensor> results(graph_.buffer_update.buffers.size());
    frame_->run_all({.inputs = inputs}, [&](int index, const at::Tensor& value) {
      results[static_cast<size_t>(index)] = value.clone();
    });
    for (size_t i = 0; i < results.size(); ++i) buffers[graph_.buffer_update.buffers[i]] = results[i];
  }
  for (const std::string& name : graph_.buffer_update.buffers) {
    const at::Tensor& value = buffers.at(name);
    memory.install(name, value.to(memory.unowned().at(name).scalar_type()), value.scalar_type());
  }
}

}  // namespace shoal::run
