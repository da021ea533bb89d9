#include "lower/ownership.h"

#include <algorithm>
#include <numeric>

#include "base/text.h"
#include "lower/pipeline_schedule.h"
#include "mesh/device_mesh.h"
#include "shoal/error.h"

namespace shoal::lower {

Ownership::Ownership(const Storage& storage, const Layout& layout, StageCut cut, const StageUses& uses,
                     Grid grid, NodeCosts costs)
    : storage_(storage),
      layout_(layout),
      cut_(std::move(cut)),
      grid_(std::move(grid)),
      costs_(std::move(costs)),
      pp_of_loss_(device_of_stage(layout, uses.of_result)),
      contribution_pp_(storage.units.size()),
      ranks_(static_cast<size_t>(layout.devices())),
      sharers_(storage.units.size()) {
  if (storage.num_parts % layout.tp != 0)
    throw InputError(
        cat("layout - tp: got ", layout.tp, ", want a divisor of tensor_chunks (", storage.num_parts, ")"));
  const auto coordinate = [&](const Unit& unit) {
    return static_cast<int>(unit.part * layout.tp / storage.num_parts);
  };
  const mesh::DeviceMesh mesh = mesh::mesh_of(layout);
  std::vector<std::vector<bool>> reads(storage.units.size());  // by unit and pp coordinate
  for (size_t u = 0; u < storage.units.size(); ++u) {
    reads[u].resize(static_cast<size_t>(layout.pp));
    for (const int stage : uses.readers[u]) reads[u][static_cast<size_t>(device_of_stage(layout, stage))] = true;
    for (const int stage : uses.contributions[u]) contribution_pp_[u].push_back(device_of_stage(layout, stage));
    const bool is_shared = std::ranges::count(reads[u], true) > 1;
    if (is_shared && shards_gradients())
      throw InputError(cat("layout - zero: got zero=", layout.zero, " with ", storage.units[u].parameter,
                           ", which more than one stage uses; zero=2 and zero=3 sum gradients within a stage, so use "
                           "zero=1, or fewer stages"));
  }
  // By pp and tp coordinate.
  std::vector<std::vector<size_t>> whole(static_cast<size_t>(layout.pp));
  std::vector<std::vector<size_t>> divided(static_cast<size_t>(layout.pp * layout.tp));
  for (size_t u = 0; u < storage.units.size(); ++u) {
    const Unit& unit = storage.units[u];
    const auto home = static_cast<size_t>(pp_of(u, 0));
    if (unit.part == graph::kWhole)
      whole[home].push_back(u);
    else
      divided[home * static_cast<size_t>(layout.tp) + static_cast<size_t>(coordinate(unit))].push_back(u);
  }
  for (int rank = 0; rank < num_ranks(); ++rank) {
    Rank& r = ranks_[static_cast<size_t>(rank)];
    r.role = mesh::role_of(layout, rank);
    if (!r.role.computes) continue;
    for (size_t u = 0; u < storage.units.size(); ++u)
      if (reads[u][static_cast<size_t>(r.role.pp)] &&
          (storage.units[u].part == graph::kWhole || coordinate(storage.units[u]) == r.role.tp))
        r.held.push_back(u);
  }

  if (layout.servers > 0) {
    std::vector<size_t> all(storage.units.size());
    std::iota(all.begin(), all.end(), size_t{0});
    std::vector<int> servers(static_cast<size_t>(layout.servers));
    std::iota(servers.begin(), servers.end(), mesh.devices());
    deal(all, servers);
  } else {
    for (int p = 0; p < layout.pp; ++p) {
      std::vector<int> everyone(static_cast<size_t>(layout.dp * layout.tp));
      std::iota(everyone.begin(), everyone.end(), mesh.rank_at({p, 0, 0}));
      deal(whole[static_cast<size_t>(p)], everyone);
      for (int t = 0; t < layout.tp; ++t)
        deal(divided[static_cast<size_t>(p * layout.tp + t)], mesh.group(mesh.rank_at({p, 0, t}), "dp"));
    }
  }

  for (Rank& r : ranks_) {
    std::sort(r.share.begin(), r.share.end(), [](const Shard& a, const Shard& b) {
      return std::pair(a.unit, a.elements.begin) < std::pair(b.unit, b.elements.begin);
    });
    if (!replicates_optimizer())
      r.owned = r.share;
    else
      for (size_t u : r.held) r.owned.push_back({u, {0, storage.units[u].numel}});
    place(r);
  }
}

// Block b of the pool goes to the rank in whose share of all elements its middle lies.
void Ownership::deal(const std::vector<size_t>& pool, const std::vector<int>& ranks) {
  int64_t total = 0, before = 0;
  for (size_t u : pool) total += storage_.units[u].numel;
  for (size_t u : pool) {
    const int64_t numel = storage_.units[u].numel;
    for (int64_t begin = 0; begin < numel; begin += kBlockElements) {
      const int64_t end = std::min(begin + kBlockElements, numel), middle = before + (begin + end) / 2;
      const int rank = ranks[static_cast<size_t>(middle * std::ssize(ranks) / total)];
      if (auto& sharers = sharers_[u]; !sharers.empty() && sharers.back().rank == rank) {
        sharers.back().elements.end = end;
        ranks_[static_cast<size_t>(rank)].share.back().elements.end = end;
      } else {
        sharers.push_back({rank, {begin, end}});
        ranks_[static_cast<size_t>(rank)].share.push_back({u, {begin, end}});
      }
    }
    before += numel;
  }
}

void Ownership::place(Rank& r) const {
  r.kept_of.resize(storage_.units.size());
  r.contributions.resize(storage_.units.size());
  const auto keep = [&](size_t unit, Range elements) {
    r.kept_of[unit].push_back(r.kept.size());
    r.kept.push_back({unit, elements});
    r.weights.push_back(r.weight_bytes);
    r.weight_bytes +=
        align_up(elements.size() * static_cast<int64_t>(comm::element_bytes(storage_.units[unit].dtype)));
  };
  if (r.role.computes && !shards_parameters())
    for (size_t u : r.held) keep(u, {0, storage_.units[u].numel});
  else
    for (const Shard& piece : r.share) keep(piece.unit, piece.elements);
  if (shards_gradients()) return;
  for (size_t u : r.held) {
    for (size_t c = 0; c < storage_.units[u].contributions.size(); ++c) {
      r.contributions[u].push_back(r.accumulator_bytes);
      if (pp_of(u, c) != r.role.pp) continue;  // it has no place
      r.accumulator_bytes += align_up(storage_.units[u].numel * static_cast<int64_t>(sizeof(float)));
    }
  }
}

bool Ownership::holds(int rank, size_t unit) const {
  return std::binary_search(held(rank).begin(), held(rank).end(), unit);
}

int Ownership::gradient_group(int rank, size_t unit) const {
  const int part = storage_.units[unit].part;
  return part == graph::kWhole ? role(rank).tp : static_cast<int>(part * layout_.tp / storage_.num_parts);
}

bool Ownership::keeps(int rank, size_t unit, Range elements) const {
  const Rank& r = of(rank);
  return std::any_of(r.kept_of[unit].begin(), r.kept_of[unit].end(),
                     [&](size_t k) { return r.kept[k].elements.contains(elements); });
}

int64_t Ownership::weight_offset(int rank, size_t unit, int64_t element) const {
  const Rank& r = of(rank);
  const auto width = static_cast<int64_t>(comm::element_bytes(storage_.units[unit].dtype));
  for (size_t k : r.kept_of[unit])
    if (const Range elements = r.kept[k].elements; elements.contains({element, element + 1}))
      return r.weights[k] + (element - elements.begin) * width;
  throw JobError(cat("ownership - weight ", storage_.units[unit].parameter, ": rank ", rank,
                     " does not keep element ", element));
}

int64_t Ownership::accumulator_offset(int rank, size_t unit, size_t contribution) const {
  return of(rank).contributions.at(unit).at(contribution);
}

std::string print(const Ownership& ownership) {
  std::string text;
  const auto elements = [](const std::vector<Shard>& pieces) {
    int64_t sum = 0;
    for (const Shard& piece : pieces) sum += piece.elements.size();
    return sum;
  };
  for (int rank = 0; rank < ownership.num_ranks(); ++rank) {
    const mesh::Role& role = ownership.role(rank);
    text += cat(
        "rank ", rank,
        role.computes ? cat(ownership.layout().pp > 1 ? cat(" pp=", role.pp) : std::string(), " dp=", role.dp, " tp=", role.tp)
                      : std::string(" server"),
        role.computes ? cat(": computes with ", ownership.held(rank).size(), " units") : ": computes nothing",
        ", owns ", elements(ownership.owned(rank)), " elements; keeps weights ",
        human_bytes(static_cast<uint64_t>(ownership.weight_bytes(rank))));
    if (const int64_t each = ownership.accumulator_bytes(rank); each > 0)
      text += cat(", gradients ", human_bytes(static_cast<uint64_t>(each)), " an accumulator");
    text += "\n";
  }
  return text;
}

int64_t shard_accumulator_bytes(const Ownership& ownership, int rank) {
  int64_t bytes = 0;
  for (const Shard& piece : ownership.owned(rank))
    bytes += align_up(piece.elements.size() * static_cast<int64_t>(sizeof(float))) *
             std::ssize(ownership.storage().units[piece.unit].contributions);
  return bytes;
}

int64_t board_bytes(const Storage& storage, int64_t num_microbatches) {
  return align_up(static_cast<int64_t>(sizeof(double)) * (num_microbatches + storage.num_blocks + 1));
}

}  // namespace shoal::lower
