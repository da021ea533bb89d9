#include "text/byte_trie.h"

#include <algorithm>

namespace shoal::text {

ByteTrie::ByteTrie(std::vector<std::pair<std::string, int32_t>> strings) {
  std::erase_if(strings, [](const auto& string) { return string.first.empty(); });
  if (strings.empty()) return;
  std::stable_sort(strings.begin(), strings.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  nodes_.push_back({});
  // In sorted order a string shares a beginning with the one before it, and only the last child can be it.
  std::vector<int32_t> path = {0};
  std::vector<int32_t> last_child = {-1};  // of the nodes on the path
  std::string_view before;
  for (const auto& [string, value] : strings) {
    const size_t shared =
        std::mismatch(before.begin(), before.end(), string.begin(), string.end()).first - before.begin();
    path.resize(shared + 1);
    last_child.resize(shared + 1);
    for (size_t i = shared; i < string.size(); ++i) {
      const auto id = static_cast<int32_t>(nodes_.size());
      const auto byte = static_cast<uint8_t>(string[i]);
      nodes_.push_back({.byte = byte});
      (last_child[i] < 0 ? nodes_[path[i]].child : nodes_[last_child[i]].sibling) = id;
      last_child[i] = id;
      if (i == 0) first_[byte] = id;
      path.push_back(id);
      last_child.push_back(-1);
    }
    if (nodes_[path.back()].value < 0) nodes_[path.back()].value = value;
    before = string;
  }
}

std::optional<ByteTrie::Match> ByteTrie::longest(std::string_view text, size_t at) const {
  std::optional<Match> found;
  int32_t node = at < text.size() ? first_[static_cast<unsigned char>(text[at])] : -1;
  for (size_t end = at; node >= 0;) {
    ++end;
    if (nodes_[node].value >= 0) found = Match{nodes_[node].value, end - at};
    if (end == text.size()) break;
    const auto byte = static_cast<uint8_t>(text[end]);
    node = nodes_[node].child;
    while (node >= 0 && nodes_[node].byte < byte) node = nodes_[node].sibling;
    if (node >= 0 && nodes_[node].byte != byte) break;
  }
  return found;
}

}  // namespace shoal::text
