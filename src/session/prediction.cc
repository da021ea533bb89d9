#include "session/prediction.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "base/text.h"
#include "comm/collectives.h"
#include "session/forward.h"
#include "shoal/error.h"

namespace shoal::session {
namespace {

/// A result on its way: what its bytes are.
struct Head {
  static constexpr int64_t kMostDims = 12;
  int64_t has = 0;  // this device has one to show
  int64_t dtype = 0, num_dims = 0;
  int64_t sizes[kMostDims] = {};
};

Head head_of(const at::Tensor& result) {
  if (result.dim() > Head::kMostDims)
    throw InputError(cat("trainer - predict: got a result of ", result.dim(), " dims, want at most ", Head::kMostDims));
  Head head{.has = 1, .dtype = static_cast<int64_t>(result.scalar_type()), .num_dims = result.dim()};
  std::ranges::copy(result.sizes(), head.sizes);
  return head;
}

at::Tensor empty_like(const Head& head) {
  return at::empty({head.sizes, static_cast<size_t>(head.num_dims)}, static_cast<c10::ScalarType>(head.dtype));
}

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

}  // namespace

void predict(const Session& session, Function& prediction, Weights& weights, TrainingStep& steps, int64_t count,
             const std::function<Batch(int64_t)>& batch,
             const std::function<void(int64_t, const at::Tensor&)>& take) {
  comm::Group& world = weights.group();
  const mesh::Role& role = session.role;
  const int64_t replicas = session.layout.dp;
  for (int64_t first = 0; first < count; first += replicas) {
    const int64_t mine = first + role.dp;
    at::Tensor result;
    if (role.computes && mine < count)
      run_forward(session, prediction, weights, steps, {"predict", mine, batch}, [&](const at::Tensor& made) {
        if (role.tp == 0) result = made.contiguous().clone();  // the others of its group have the same
      });
    // Which device shows what: stages differ in who has the result, and a replica may have had no batch.
    const Head head = result.defined() ? head_of(result) : Head{};
    std::vector<Head> heads(static_cast<size_t>(world.size()));
    comm::all_gather(world, std::as_bytes(std::span(&head, 1)), std::as_writable_bytes(std::span(heads)));
    if (world.rank() != 0) {
      if (result.defined()) world.send(0, bytes_of(result));
      continue;
    }
    for (int64_t dp = 0; dp < std::min(replicas, count - first); ++dp) {
      for (int rank = 0; rank < world.size(); ++rank) {
        const mesh::Role whose = mesh::role_of(session.layout, rank);
        const Head& shown = heads[static_cast<size_t>(rank)];
        if (!whose.computes || whose.dp != dp || shown.has == 0) continue;
        at::Tensor gathered = result;
        if (rank != 0) {
          gathered = empty_like(shown);
          world.recv(rank, bytes_of(gathered));
        }
        take(first + dp, gathered);
        break;
      }
    }
  }
  if (session.has_peers())
    check_same_evaluations(world, session.calls.now("predict"), prediction.hashes());
}

}  // namespace shoal::session
