// check_same_batch: what step(batch) takes for granted, looked at.
#include "base/text.h"
#include "comm/agree.h"
#include "graph/graph.h"
#include "session/tensor_hash.h"
#include "shoal/trainer.h"

namespace shoal {
namespace {

std::string type_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return graph::print(graph::contiguous_type(tensor));
}

}  // namespace

void check_same_batch(World& world, const Batch& batch) {
  std::vector<comm::Fact> facts = {{"number of tensors", cat(batch.size())}};
  for (size_t i = 0; i < batch.size(); ++i) facts.push_back({cat("tensor ", i), type_of(batch[i])});
  for (size_t i = 0; i < batch.size(); ++i)
    if (batch[i].defined())
      facts.push_back({cat("content of tensor ", i), session::hash_of(batch[i]),
                       "step(batch) needs the same global batch on every device: shuffle and draw with a seed "
                       "that all share, or give step() a function that makes one microbatch",
                       /*is_hash=*/true});
  world.agreement().agree({"check_same_batch - batch", "check_same_batch", std::move(facts)});
}

}  // namespace shoal
