#include "session/captured_graphs.h"

#include <algorithm>

#include "base/hash.h"

namespace shoal::session {

Captured::Captured(Key key_in, const capture::Call& call, lower::LocalGraph local, lower::Program program,
                   const lower::Storage& storage, comm::Group& world, run::LiveTensors& live, kernels::Device& device)
    : key(std::move(key_in)),
      text(call.text),
      hash(hash_hex(call.text)),
      sources(call.graph.externals),
      trace(call.trace),
      execution(std::move(local), std::move(program), storage, world, live, device) {}

bool Captured::is_of(const capture::Call& call) const {
  return text == call.text && capture::reads_the_same(sources, call.graph.externals);
}

template <class Matches>
Captured* CapturedGraphs::use(const Matches& matches) {
  const auto found = std::find_if(all_.rbegin(), all_.rend(), [&](const auto& each) { return matches(*each); });
  if (found == all_.rend()) return nullptr;
  std::rotate(found.base() - 1, found.base(), all_.end());
  return all_.back().get();
}

Captured* CapturedGraphs::find(const Key& key, const std::function<at::Tensor(const Batch&)>& code,
                               bool gradients) {
  return use([&](const Captured& each) {
    return each.key == key && each.trace->is_repeated_by(code, gradients);
  });
}

Captured* CapturedGraphs::find(const Key& key, const capture::Call& call) {
  Captured* const found = use([&](const Captured& each) { return each.key == key && each.is_of(call); });
  if (found) found->trace = call.trace;
  return found;
}

std::string CapturedGraphs::text_of(const Key& key) const {
  const auto found =
      std::find_if(all_.rbegin(), all_.rend(), [&](const auto& each) { return each->key == key; });
  return found == all_.rend() ? "" : (*found)->text;
}

Captured& CapturedGraphs::add(std::unique_ptr<Captured> captured) {
  // One that reads other tensors from outside now is of no use any more.
  const auto is_like = [&](const auto& each) { return each->key == captured->key; };
  std::erase_if(all_, [&](const auto& each) { return is_like(each) && each->text == captured->text; });
  if (std::ranges::count_if(all_, is_like) == kMostOfAKey) all_.erase(std::ranges::find_if(all_, is_like));
  all_.push_back(std::move(captured));
  return *all_.back();
}

}  // namespace shoal::session
