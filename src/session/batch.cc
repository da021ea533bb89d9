#include "session/batch.h"

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::session {

int64_t check_batch(const Batch& batch, const kernels::Device& device) {
  if (batch.empty()) throw InputError("batch - tensors: got none, want at least one");
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!batch[i].defined() || batch[i].dim() == 0)
      throw InputError(cat("batch - tensor ", i, ": got ",
                           batch[i].defined() ? "a scalar" : "an undefined tensor",
                           ", want samples along dim 0"));
    if (!device.holds(batch[i]))
      throw InputError(cat("batch - tensor ", i, ": it is on ", batch[i].device().str(), ", want ",
                           device.torch_device().str()));
    if (batch[i].size(0) != batch[0].size(0))
      throw InputError(cat("batch - tensor ", i, ": got ", batch[i].size(0), " samples, want ",
                           batch[0].size(0), " as tensor 0 has"));
  }
  return batch[0].size(0);
}

Batch contiguous(Batch batch) {
  for (at::Tensor& tensor : batch) tensor = tensor.contiguous();
  return batch;
}

Shapes shapes_of(const Batch& batch) {
  Shapes shapes;
  for (const at::Tensor& tensor : batch) shapes.push_back(graph::contiguous_type(tensor));
  return shapes;
}

std::string print_shapes(const Shapes& shapes) {
  std::vector<std::string> texts;
  for (const graph::TensorType& type : shapes) texts.push_back(graph::print(type));
  return join(texts, ", ");
}

}  // namespace shoal::session
