// check_same_batch: what step(batch) takes for granted, looked at.
#include "base/text.h"
#include "comm/agree.h"
#include "graph/graph.h"
#include "shoal/error.h"
#include "shoal/trainer.h"
#include "train/agreed_facts.h"

namespace shoal {

void check_same_batch(World& world, const Batch& batch) {
  std::vector<comm::Fact> facts = {{"number of tensors", cat(batch.size())}};
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!batch[i].defined())
      throw InputError(cat("check_same_batch - tensor ", i, ": got an undefined tensor"));
    facts.push_back({cat("tensor ", i),
                     graph::print(graph::contiguous_type(batch[i].scalar_type(), batch[i].sizes().vec()))});
  }
  for (size_t i = 0; i < batch.size(); ++i)
    facts.push_back(
        {cat("content of tensor ", i), train::hash_of(batch[i]),
         "step(batch) needs the same global batch on every device: shuffle and draw with a seed that "
         "all share, or give step() a function that makes one microbatch",
         /*is_hash=*/true});
  world.agreement().agree({"check_same_batch - batch", "check_same_batch", std::move(facts)});
}

}  // namespace shoal
