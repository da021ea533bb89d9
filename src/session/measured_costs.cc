#include "session/measured_costs.h"

#include <span>

#include "comm/collectives.h"
#include "run/measure_nodes.h"

namespace shoal::session {

lower::NodeCosts measured_costs(const graph::Graph& divided, const Layout& layout, kernels::Device& device,
                                comm::Group& group) {
  if (layout.pp == 1 && layout.recompute != Recompute::kSelective) return {};  // nothing is chosen by them
  const std::vector<lower::KindOfNode> kinds = lower::kinds_of_nodes(divided);
  std::vector<double> seconds(kinds.size(), 0);
  if (group.rank() == 0)
    for (size_t k = 0; k < kinds.size(); ++k) seconds[k] = run::measured_seconds(kinds[k], device);
  comm::broadcast(group, 0, std::as_writable_bytes(std::span(seconds)));
  std::map<std::string, double> by_text;
  for (size_t k = 0; k < kinds.size(); ++k) by_text[kinds[k].text] = seconds[k];
  return lower::NodeCosts(std::move(by_text));
}

}  // namespace shoal::session
