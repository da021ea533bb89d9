#include "comm/copy.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace shoal::comm {
namespace {

// Sizes on both sides of where a copy goes past the cache, from and to odd places.
TEST(CopyBytes, CopiesAllAndNothingElse) {
  constexpr size_t kMargin = 200, kLarge = size_t{4} << 20;
  std::vector<std::byte> from(kLarge + 4 * kMargin);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>((i * 2'654'435'761u) >> 13);
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{1000}, kLarge - 1, kLarge, kLarge + 1, kLarge + 127})
    for (const size_t shift : {0, 1, 63}) {
      std::vector<std::byte> to(from.size(), std::byte{0x5A}), want = to;
      std::copy_n(from.begin() + 7, bytes, want.begin() + kMargin + shift);
      copy_bytes(to.data() + kMargin + shift, from.data() + 7, bytes);
      ASSERT_TRUE(to == want) << bytes << " bytes at " << shift;
    }
}

}  // namespace
}  // namespace shoal::comm
