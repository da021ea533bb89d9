#include "comm/group.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/fault.h"
#include "base/text.h"
#include "comm/failure.h"

namespace shoal::comm {
namespace {

std::vector<int> all_ranks(const Communicator& communicator) {
  std::vector<int> ranks(static_cast<size_t>(communicator.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

std::vector<int> ranks_of(const Group& group, std::span<const int> members) {
  std::vector<int> ranks;
  for (const int member : members) {
    if (member < 0 || member >= group.size())
      throw BrokenInvariant(cat("rank ", group.communicator().rank(), " - group: got member ", member,
                                 ", want some of ", group.size()));
    ranks.push_back(group.world_rank(member));
  }
  return ranks;
}

}  // namespace

Group::Group(Communicator& communicator, std::vector<int> ranks)
    : communicator_(&communicator), ranks_(std::move(ranks)) {
  check_members(communicator, ranks_);
  rank_ = static_cast<int>(std::ranges::find(ranks_, communicator.rank()) - ranks_.begin());
  link_ = communicator.link(ranks_);
}
Group::Group(Communicator& communicator) : Group(communicator, all_ranks(communicator)) {}
Group::Group(const Group& of, std::span<const int> members)
    : Group(of.communicator(), ranks_of(of, members)) {}

void Group::require_idle() const {
  if (arrived_)
    throw BrokenInvariant(cat("rank ", communicator_->rank(),
                               " - group: a collective that has begun is not over; wait for it, or make "
                               "another group"));
}

void Group::barrier() {
  arrive();
  pass();
}

void Group::arrive() {
  require_idle();
  link_->arrive();
  arrived_ = true;
}

void Group::pass() {
  if (!std::exchange(arrived_, false))
    throw BrokenInvariant(cat("rank ", communicator_->rank(), " - group: pass comes after arrive"));
  link_->pass();
}

std::shared_ptr<Window> Group::window(size_t bytes) {
  require_idle();
  return link_->window(bytes);
}

void Group::send(int to, std::span<const std::byte> bytes) {
  check_peer(*this, "send", to);
  link_->send(to, bytes);
}
void Group::recv(int from, std::span<std::byte> bytes) {
  check_peer(*this, "recv", from);
  link_->recv(from, bytes);
}

uint64_t Group::post() { return link_->post(); }
void Group::await(int member, uint64_t count) {
  check_member(*this, "signal", member);
  link_->await(member, count);
}

Window& Group::staging() {
  if (!staging_) staging_ = window(kStagingBytes);
  return *staging_;
}

}  // namespace shoal::comm
