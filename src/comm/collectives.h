// The collectives, written once over a Group's windows and barriers, for every transport.
//
// Each also comes in two parts: begin_x() shows what this member gives and waits for nobody, wait() does the
// rest; what was given and what is asked for stay where they are until then. Between the two the group has no
// other collective call: who wants several under way at a time makes as many groups. Those may begin in any
// order; ranks that share several groups wait in one order, since wait() goes through barriers.
//
// Memory passes through Group::staging() in pieces, and nothing is allocated; the first call of a group makes it,
// and waits. (Large sums, of gradients, are made where they lie in a window: reduce.h.)
#pragma once

#include <span>
#include <vector>

#include "comm/group.h"
#include "comm/reduce.h"

namespace shoal::comm {

/// A collective that has begun.
class [[nodiscard]] Pending {
 public:
  /// What it was begun with.
  struct Call {
    Group& group;
    std::span<const std::byte> given = {};
    std::span<std::byte> asked = {};
    int peer = 0;
    DType dtype = DType::kF32;
  };
  using Rest = void (*)(const Call&);
  Pending(const Call& call, Rest rest) : call_(call), rest_(rest) {}

  /// Returns when it is over for this member. Once.
  void wait() const { rest_(call_); }

 private:
  Call call_;
  Rest rest_;
};

/// Everyone's `mine`, one after the other, in `all`. The sizes must agree.
void all_gather(Group&, std::span<const std::byte> mine, std::span<std::byte> all);
Pending begin_all_gather(Group&, std::span<const std::byte> mine, std::span<std::byte> all);
/// Everyone's bytes, by member; the sizes may differ.
std::vector<std::vector<std::byte>> all_gather(Group&, std::span<const std::byte> mine);
std::vector<std::string> all_gather_texts(Group&, const std::string& mine);

/// `bytes` of `root` to everyone. The sizes must agree.
void broadcast(Group&, int root, std::span<std::byte> bytes);
Pending begin_broadcast(Group&, int root, std::span<std::byte> bytes);

/// Part m of `send` (equal parts) goes to member m; part m of `receive` came from member m. The sizes must
/// agree.
void all_to_all(Group&, std::span<const std::byte> send, std::span<std::byte> receive);
Pending begin_all_to_all(Group&, std::span<const std::byte> send, std::span<std::byte> receive);

/// `sum` becomes the tree sum over the members of their `mine`, element by element: fp64 of fp64, fp32 of fp32
/// and of bf16 (which is widened as it is added). The counts must agree.
void all_reduce(Group&, DType, std::span<const std::byte> mine, std::span<std::byte> sum);
Pending begin_all_reduce(Group&, DType, std::span<const std::byte> mine, std::span<std::byte> sum);

/// The same of part m of `mine` (equal parts) on member m.
void reduce_scatter(Group&, DType, std::span<const std::byte> mine, std::span<std::byte> sum);
Pending begin_reduce_scatter(Group&, DType, std::span<const std::byte> mine, std::span<std::byte> sum);

/// A message that the peer takes with begin_recv or Group::recv; goes out at once.
Pending begin_send(Group&, int to, std::span<const std::byte> bytes);
Pending begin_recv(Group&, int from, std::span<std::byte> bytes);

}  // namespace shoal::comm
