#include "infer/fair_queue.h"

namespace shoal::infer {

void FairQueue::add(Sequence& sequence) {
  if (clients_[sequence.request.client].emplace(sequence.id, &sequence).second) ++size_;
}

Sequence* FairQueue::next() const {
  if (clients_.empty()) return nullptr;
  auto turn = clients_.upper_bound(last_);
  if (turn == clients_.end()) turn = clients_.begin();
  return turn->second.begin()->second;
}

void FairQueue::take(Sequence& sequence) {
  if (remove(sequence)) last_ = sequence.request.client;
}

bool FairQueue::remove(const Sequence& sequence) {
  const auto client = clients_.find(sequence.request.client);
  if (client == clients_.end() || client->second.erase(sequence.id) == 0) return false;
  if (client->second.empty()) clients_.erase(client);
  --size_;
  return true;
}

}  // namespace shoal::infer
