#include "run/execution.h"

namespace shoal::run {
namespace {

// Gradients that buckets take stay in the frame until then.
std::set<graph::ValueId> kept_by(const lower::Program& program) {
  std::set<graph::ValueId> kept;
  for (const lower::Bucket& bucket : program.buckets)
    for (const lower::BucketItem& item : bucket)
      if (item.drops) kept.insert(item.value);
  return kept;
}

}  // namespace

Execution::Execution(lower::LocalGraph local_in, lower::Program program_in, const lower::Storage& storage,
                     comm::Group& world, LiveTensors& live, kernels::Device& device)
    : local(std::move(local_in)),
      program(std::move(program_in)),
      contributions(lower::contributions_of(local.graph, storage)),
      graph(local.graph, device, kept_by(program)),
      buffers(local.graph, device),
      externals(local.graph, live, device),
      transfers(world, program, device) {
  if (!program.blocks.empty()) shared_ = std::make_unique<FrameMemory>(device);
  for (const lower::Buffer& buffer : program.buffers)
    if (buffer.kind == lower::Buffer::Kind::kFrame)
      frames_.push_back(shared_ ? std::make_unique<Frame>(graph, *shared_) : std::make_unique<Frame>(graph));
}

void Execution::begin_run() {
  if (shared_) shared_->begin();
}

void Execution::end_run(bool is_whole) {
  for (const auto& frame : frames_) frame->end();
  if (shared_) shared_->end(is_whole);
}

int64_t Execution::frame_bytes() const {
  if (shared_) return shared_->peak_bytes();
  int64_t bytes = 0;
  for (const auto& frame : frames_) bytes += frame->peak_bytes();
  return bytes;
}

std::vector<at::Tensor> bind_inputs(const graph::Graph& graph, const DeviceMemory& memory,
                                    const Externals& externals, const std::vector<at::Tensor>& batch) {
  std::vector<at::Tensor> inputs;
  size_t next = 0;
  for (const graph::Input& input : graph.inputs) {
    switch (input.kind) {
      case graph::InputKind::kParameter:
      case graph::InputKind::kBuffer:
        inputs.push_back(memory.value(input.name, input.part));
        break;
      case graph::InputKind::kBatch:
        inputs.push_back(batch.at(next++));
        break;
      case graph::InputKind::kConstant:
        inputs.emplace_back();
        break;
      case graph::InputKind::kExternal:
        inputs.push_back(externals.value(inputs.size()));
        break;
    }
  }
  return inputs;
}

}  // namespace shoal::run
