// Who keeps what, and where it lies: one answer for replicated parameters, ZeRO and servers
// (docs/layouts.md). Every rank works it out for all ranks, so nobody asks anybody.
//
// Three questions, for each rank:
//   held    whose numbers it computes with: a worker holds the whole units and those parts that its tensor-
//           parallel coordinate computes, of what its stages read; a server holds none.
//   share   whose gradients it sums, whose squares it reports and which it saves: every block is in one
//           rank's share.
//   owned   what it updates, so keeps master weights and optimizer state of: its share; with zero = 0 all
//           that it holds.
// A share is a run of whole blocks, one for each *pool* of units: units that are whole are divided over all
// workers of a pp coordinate, the parts of one tensor-parallel coordinate over those of them with that coordinate,
// and with servers everything over the servers. What several stages read is in the pool of the one that makes the
// first contribution to its gradient.
#pragma once

#include <string>
#include <vector>

#include "lower/stages.h"
#include "lower/storage.h"
#include "mesh/layout.h"
#include "mesh/role.h"
#include "shoal/layout.h"

namespace shoal::lower {

class Ownership {
 public:
  /// `storage` must outlive it. REQUIRES: layout.tp divides storage.num_parts. `cut`: where the stages begin, and
  /// `uses` what they use. `grid`: in which order they are computed; empty: as the layout says. `costs`: what a
  /// schedule is made for, and what is computed again chosen by. Throws InputError where stages share what the layout
  /// cannot sum over them.
  Ownership(const Storage& storage, const Layout& layout, StageCut cut, const StageUses& uses, Grid grid = {},
            NodeCosts costs = {});
  /// Of a model that is not cut. REQUIRES: layout.pp == 1.
  Ownership(const Storage& storage, const Layout& layout, NodeCosts costs = {})
      : Ownership(storage, layout, {}, StageUses(storage), {}, std::move(costs)) {}

  const Storage& storage() const { return storage_; }
  const Layout& layout() const { return layout_; }
  const StageCut& cut() const { return cut_; }
  const Grid& grid() const { return grid_; }
  const NodeCosts& costs() const { return costs_; }
  /// The pp coordinate that makes the loss, and a contribution to a gradient.
  int pp_of_loss() const { return pp_of_loss_; }
  int pp_of(size_t unit, size_t contribution) const { return contribution_pp_[unit][contribution]; }
  /// Whether the rank's stages make the contribution.
  bool makes(int rank, size_t unit, size_t contribution) const {
    return role(rank).computes && holds(rank, unit) && pp_of(unit, contribution) == role(rank).pp;
  }
  int num_ranks() const { return static_cast<int>(ranks_.size()); }
  const mesh::Role& role(int rank) const { return of(rank).role; }

  /// Units, in order; and pieces, in the order of their units.
  const std::vector<size_t>& held(int rank) const { return of(rank).held; }
  bool holds(int rank, size_t unit) const;
  const std::vector<Shard>& share(int rank) const { return of(rank).share; }
  const std::vector<Shard>& owned(int rank) const { return of(rank).owned; }
  /// The pieces of a unit's share-holders, in the order of their elements.
  struct Shared {
    int rank;
    Range elements;
  };
  const std::vector<Shared>& sharers(size_t unit) const { return sharers_[unit]; }

  /// The tensor-parallel coordinate whose gradients of `unit` `rank` sums.
  int gradient_group(int rank, size_t unit) const;

  // --- Addresses, in bytes. Each piece is aligned. ---
  /// The weight window has, in the dtype that forward reads: held units whole; with zero = 3 and on servers
  /// only the share.
  const std::vector<Shard>& kept(int rank) const { return of(rank).kept; }
  bool keeps(int rank, size_t unit, Range elements) const;
  int64_t weight_bytes(int rank) const { return of(rank).weight_bytes; }
  /// REQUIRES: the rank keeps the element.
  int64_t weight_offset(int rank, size_t unit, int64_t element) const;
  /// An accumulator: every contribution to the held units, with room for fp32. 0 for servers and zero >= 2.
  int64_t accumulator_bytes(int rank) const { return of(rank).accumulator_bytes; }
  int64_t accumulator_offset(int rank, size_t unit, size_t contribution) const;

  // --- What the layout is, in the words of the settings ---
  bool replicates_optimizer() const { return mesh::replicates_optimizer(layout_); }
  bool shards_gradients() const { return mesh::shards_gradients(layout_); }
  bool shards_parameters() const { return mesh::shards_parameters(layout_); }

 private:
  struct Rank {
    mesh::Role role;
    std::vector<size_t> held;
    std::vector<Shard> share, owned, kept;
    std::vector<int64_t> weights;                     // offsets, by kept piece
    std::vector<std::vector<size_t>> kept_of;         // by unit: indices into kept
    std::vector<std::vector<int64_t>> contributions;  // by unit, in an accumulator
    int64_t weight_bytes = 0, accumulator_bytes = 0;
  };
  const Rank& of(int rank) const { return ranks_.at(static_cast<size_t>(rank)); }
  void deal(const std::vector<size_t>& pool, const std::vector<int>& ranks);
  void place(Rank&) const;

  const Storage& storage_;
  Layout layout_;
  StageCut cut_;
  Grid grid_;
  NodeCosts costs_;
  int pp_of_loss_ = 0;
  std::vector<std::vector<int>> contribution_pp_;  // by unit and contribution
  std::vector<Rank> ranks_;
  std::vector<std::vector<Shared>> sharers_;  // by unit
};

/// The bytes of one accumulator of a device that sums for its shard alone (zero >= 2): every contribution to
/// each of its pieces.
int64_t shard_accumulator_bytes(const Ownership&, int rank);
/// The bytes of the numbers that a device shows to all.
int64_t board_bytes(const Storage&, int64_t num_microbatches);

/// What each rank keeps, one line each.
std::string print(const Ownership&);

}  // namespace shoal::lower
