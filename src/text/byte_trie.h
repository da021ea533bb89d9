// Strings by their bytes: which of them a text begins with, and all of them in the order of a walk.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shoal::text {

/// Immutable once made. A string that comes twice has the value of the first.
class ByteTrie {
 public:
  struct Node {
    uint8_t byte = 0;      // that leads here
    int32_t value = -1;    // of the string that ends here, or -1
    int32_t child = -1;    // the first; children ascend by their bytes
    int32_t sibling = -1;  // the next child of the same parent
  };

  ByteTrie() = default;
  /// Empty strings are left out.
  explicit ByteTrie(std::vector<std::pair<std::string, int32_t>> strings);

  struct Match {
    int32_t value;
    size_t bytes;
  };
  /// The longest string that `text` has at `at`.
  std::optional<Match> longest(std::string_view text, size_t at) const;
  /// Whether a string begins with this byte.
  bool begins(unsigned char byte) const { return first_[byte] >= 0; }
  bool empty() const { return nodes_.empty(); }
  /// nodes()[0] is the root: no byte, no value. A node's descendants come before its sibling's.
  const std::vector<Node>& nodes() const { return nodes_; }

 private:
  std::vector<Node> nodes_;
  std::array<int32_t, 256> first_ = filled();  // children of the root
  static std::array<int32_t, 256> filled() {
    std::array<int32_t, 256> none;
    none.fill(-1);
    return none;
  }
};

}  // namespace shoal::text
