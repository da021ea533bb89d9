#include "lower/storage.h"

#include <gtest/gtest.h>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::lower {
namespace {

const char* const kGraph =
    "%0 = parameter \"a\" : f32[70000]\n"
    "%1 = parameter \"frozen\" : f32[9]\n"
    "%2 = parameter \"b\" : bf16[3]\n"
    "%3 = parameter \"c\" : f32[400000]\n"
    "gradient \"a\" %0\n"
    "gradient \"b\" %2 %2\n"
    "gradient \"c\" %3\n";

TEST(Storage, LaysOutWhatIsTrained) {
  const Storage storage = plan_storage(graph::parse(kGraph));
  ASSERT_EQ(storage.parameters.size(), 3u);
  EXPECT_EQ(storage.num_blocks, 2 + 1 + 7);
  EXPECT_EQ(storage.parameters[2].first_block, 3);
  EXPECT_EQ(storage.parameters[1].contributions.size(), 2u);
  for (const StoredParameter& parameter : storage.parameters) {
    EXPECT_EQ(parameter.weight_offset % kAlignment, 0);
    for (const auto& contribution : parameter.contributions) EXPECT_EQ(contribution.offset % kAlignment, 0);
  }
}

TEST(Storage, EveryBlockHasOneOwner) {
  const Storage storage = plan_storage(graph::parse(kGraph));
  for (int size = 1; size <= 12; ++size) {
    std::vector<int> owners(static_cast<size_t>(storage.num_blocks), 0);
    for (int rank = 0; rank < size; ++rank) {
      for (const Piece& piece : storage.owned(size, rank)) {
        const StoredParameter& parameter = storage.parameters[piece.parameter];
        EXPECT_EQ(piece.elements.begin % kBlockElements, 0);
        EXPECT_TRUE(piece.elements.end % kBlockElements == 0 || piece.elements.end == parameter.numel);
        for (int64_t block = piece.elements.begin / kBlockElements; block < num_blocks(piece.elements.end);
             ++block)
          ++owners[static_cast<size_t>(parameter.first_block + block)];
      }
    }
    EXPECT_EQ(owners, std::vector<int>(static_cast<size_t>(storage.num_blocks), 1)) << size << " devices";
  }
}

TEST(Storage, OtherDtypesAreRefused) {
  EXPECT_ERROR(
      plan_storage(graph::parse("%0 = parameter \"w\" : f64[2]\ngradient \"w\" %0\n")), InputError,
      "parameter w - dtype: got f64, want f32; other dtypes cannot be trained yet, freeze it or convert it");
}

}  // namespace
}  // namespace shoal::lower
