// Work divided by position: item i of every round goes to rank i. Nobody takes work because they are free, so
// nothing depends on speed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/group.h"

namespace shoal::data {

/// Collective. Does `num_items` pieces of work, one per rank and round, and returns what each gave, by item,
/// on every rank. `after_round` is called on every rank. Throws JobError on every rank after the round in
/// which any rank was asked to stop (comm::stop_requested).
std::vector<std::string> in_rounds(comm::Group&, int64_t num_items,
                                   const std::function<std::string(int64_t item)>& work,
                                   const std::function<void(int64_t items_done)>& after_round);

/// Collective. The root's text, on every rank.
std::string share_text(comm::Group&, int root, const std::string& text);

}  // namespace shoal::data
