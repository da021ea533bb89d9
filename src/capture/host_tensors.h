// The tensors of the host that a model's code computes with while it is captured: which of them are numbers
// that the call itself made, and which have a life outside of it.
//
//   made in this call (torch::tensor, a factory that names the CPU)      a constant of the graph
//   in memory that LibTorch does not own (from_blob)                     a constant, too: nobody says whose it is
//   a view, data() or detach() of one of the module's tensors            a view of its twin
//   anything else that is not the module's                               an external: read anew for each run
#pragma once

#include <ATen/core/TensorBody.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "capture/ghost.h"
#include "graph/graph.h"

namespace shoal::capture {

class Recording;

class HostTensors {
 public:
  explicit HostTensors(Recording& recording) : recording_(recording) {}

  /// Told of the module's own tensors: the constructor of a described one made them.
  void add_own(const at::Tensor& original);

  /// What stands for a tensor that has no twin of its own. Throws InputError when nothing can.
  at::Tensor resolve(const at::Tensor& tensor, bool is_written);

  /// A tensor that this call made: its numbers are constants.
  void note_made(const at::Tensor&);
  bool is_made(const at::Tensor&) const;
  /// From now on it is a value of the graph, as all that shares its memory; reading its numbers on the host
  /// throws.
  at::Tensor promote(const at::Tensor&);

  bool is_external(const at::Tensor& twin) const;
  /// Throws InputError when one of them has another value than before.
  void check_externals() const;

  /// Whether its numbers are read anew for each run.
  bool is_live(const at::Tensor&) const;

  /// When the call is over: lets go of all tensors.
  void leave();

 private:
  using Storages = std::unordered_map<const c10::StorageImpl*, c10::Storage>;  // kept: no address is reused
  struct External {
    at::Tensor twin;
    graph::ValueId before;  // the twin's value at first
  };
  at::Tensor resolve_ghost(const at::Tensor& tensor, const at::Tensor& ghost, bool is_written);
  at::Tensor add_external(const at::Tensor&);

  Recording& recording_;
  Storages made_, kept_;  // in this call; in an earlier one, and its numbers are known
  std::vector<External> externals_;
  std::shared_ptr<Origin> constructor_;  // of the module, when it is described
};

}  // namespace shoal::capture
