#include "lower/ownership.h"

#include <gtest/gtest.h>

#include <set>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::lower {
namespace {

// "a" is whole and long, "b" has two contributions, "c" is divided in 4 parts.
std::string graph_text() {
  std::string text =
      "%0 = parameter \"a\" : f32[700000]\n"
      "%1 = parameter \"b\" : bf16[3]\n";
  for (int part = 0; part < 4; ++part)
    text += "%" + std::to_string(2 + part) +
            " = parameter \"c\" : f32[1000,100] part=" + std::to_string(part) + "\n";
  text += "gradient \"a\" %0\ngradient \"b\" %1 %1\n";
  for (int part = 0; part < 4; ++part)
    text += "gradient \"c\" %" + std::to_string(2 + part) + " part=" + std::to_string(part) + "\n";
  return text + "parts 4\ncut \"c\" dim=1 outer=1\n";
}

std::vector<Layout> layouts() {
  std::vector<Layout> all;
  for (int64_t dp : {1, 2, 3, 4, 8})
    for (int64_t tp : {1, 2, 4}) {
      for (int zero : {0, 1, 2, 3}) all.push_back({dp, tp, zero, 0});
      for (int64_t servers : {1, 2, 5}) all.push_back({dp, tp, 1, servers});
    }
  return all;
}

std::string name(const Layout& layout) {
  return "dp=" + std::to_string(layout.dp) + " tp=" + std::to_string(layout.tp) +
         " zero=" + std::to_string(layout.zero) + " servers=" + std::to_string(layout.servers);
}

bool covers(const std::vector<Shard>& pieces, const Shard& part) {
  return std::any_of(pieces.begin(), pieces.end(), [&](const Shard& piece) {
    return piece.unit == part.unit && piece.elements.contains(part.elements);
  });
}

TEST(Ownership, EveryBlockIsInOneShare) {
  const Storage storage = plan_storage(graph::parse(graph_text()));
  for (const Layout& layout : layouts()) {
    SCOPED_TRACE(name(layout));
    const Ownership ownership(storage, layout);
    std::vector<int> shares(static_cast<size_t>(storage.num_blocks), 0);
    for (int rank = 0; rank < ownership.num_ranks(); ++rank) {
      for (const Shard& piece : ownership.share(rank)) {
        const Unit& unit = storage.units[piece.unit];
        EXPECT_EQ(piece.elements.begin % kBlockElements, 0);
        EXPECT_TRUE(piece.elements.end % kBlockElements == 0 || piece.elements.end == unit.numel);
        for (int64_t block = piece.elements.begin / kBlockElements; block < num_blocks(piece.elements.end);
             ++block)
          ++shares[static_cast<size_t>(unit.first_block + block)];
        EXPECT_TRUE(covers(ownership.owned(rank), piece));
        EXPECT_TRUE(ownership.keeps(rank, piece.unit, piece.elements)) << "what is owned is kept";
      }
    }
    EXPECT_EQ(shares, std::vector<int>(static_cast<size_t>(storage.num_blocks), 1));
    for (size_t u = 0; u < storage.units.size(); ++u) {
      int64_t reached = 0;
      for (const auto& [rank, elements] : ownership.sharers(u)) {
        EXPECT_EQ(elements.begin, std::exchange(reached, elements.end));
        EXPECT_TRUE(covers(ownership.share(rank), {u, elements}));
      }
      EXPECT_EQ(reached, storage.units[u].numel);
    }
  }
}

TEST(Ownership, HoldsKeepsAndOwnsWhatTheLayoutSays) {
  const Storage storage = plan_storage(graph::parse(graph_text()));
  for (const Layout& layout : layouts()) {
    SCOPED_TRACE(name(layout));
    const Ownership ownership(storage, layout);
    for (int rank = 0; rank < ownership.num_ranks(); ++rank) {
      const mesh::Role& role = ownership.role(rank);
      EXPECT_EQ(role.computes, rank < layout.dp * layout.tp);
      const size_t parts = static_cast<size_t>(4 / layout.tp);
      EXPECT_EQ(ownership.held(rank).size(), role.computes ? 2 + parts : 0);
      for (size_t u : ownership.held(rank)) {
        const Shard whole{u, {0, storage.units[u].numel}};
        EXPECT_EQ(ownership.gradient_group(rank, u), role.tp) << "it sums gradients of its own group";
        if (layout.zero == 0) {
          EXPECT_TRUE(covers(ownership.owned(rank), whole));
        }
        if (layout.zero < 3) {
          EXPECT_TRUE(ownership.keeps(rank, u, whole.elements));
        }
      }
      if (!role.computes || layout.zero == 3) {
        EXPECT_EQ(ownership.kept(rank), ownership.share(rank));
      }
      if (layout.zero > 0) {
        EXPECT_EQ(ownership.owned(rank), ownership.share(rank));
      }
      EXPECT_EQ(ownership.accumulator_bytes(rank) > 0, role.computes && layout.zero < 2);
    }
  }
}

// Shares are even up to a block, and small units do not all fall to one rank.
TEST(Ownership, SharesAreEven) {
  std::string text;
  for (int i = 0; i < 64; ++i)
    text += "%" + std::to_string(i) + " = parameter \"p" + std::to_string(i) +
            "\" : f32[100000]\ngradient \"p" + std::to_string(i) + "\" %" + std::to_string(i) + "\n";
  const Storage storage = plan_storage(graph::parse(text));
  for (int64_t dp : {2, 3, 4, 8}) {
    const Ownership ownership(storage, {.dp = dp});
    for (int rank = 0; rank < dp; ++rank) {
      int64_t elements = 0;
      for (const Shard& piece : ownership.share(rank)) elements += piece.elements.size();
      EXPECT_NEAR(static_cast<double>(elements), 6.4e6 / static_cast<double>(dp), kBlockElements) << dp;
    }
  }
}

TEST(Ownership, AddressesAreAlignedAndApart) {
  const Storage storage = plan_storage(graph::parse(graph_text()));
  for (const Layout& layout : layouts()) {
    SCOPED_TRACE(name(layout));
    const Ownership ownership(storage, layout);
    for (int rank = 0; rank < ownership.num_ranks(); ++rank) {
      std::map<int64_t, int64_t> weights, slots;  // begin -> end
      for (const Shard& piece : ownership.kept(rank)) {
        const int64_t offset = ownership.weight_offset(rank, piece.unit, piece.elements.begin);
        EXPECT_EQ(offset % kAlignment, 0);
        weights[offset] =
            offset + piece.elements.size() *
                         static_cast<int64_t>(comm::element_bytes(storage.units[piece.unit].dtype));
      }
      if (ownership.accumulator_bytes(rank) > 0)
        for (size_t u : ownership.held(rank))
          for (size_t c = 0; c < storage.units[u].contributions.size(); ++c) {
            const int64_t offset = ownership.accumulator_offset(rank, u, c);
            EXPECT_EQ(offset % kAlignment, 0);
            slots[offset] = offset + storage.units[u].numel * 4;
          }
      int64_t end = 0;
      for (const auto& [from, to] : weights) EXPECT_GE(from, std::exchange(end, to));
      EXPECT_LE(end, ownership.weight_bytes(rank));
      end = 0;
      for (const auto& [from, to] : slots) EXPECT_GE(from, std::exchange(end, to));
      EXPECT_LE(end, ownership.accumulator_bytes(rank));
    }
  }
}

TEST(Ownership, ChunksThatTpDoesNotDivideAreRefused) {
  const Storage storage = plan_storage(graph::parse(graph_text()));
  EXPECT_ERROR(Ownership(storage, {.dp = 1, .tp = 3}), InputError,
               "layout - tp: got 3, want a divisor of tensor_chunks (4)");
}

TEST(Ownership, Prints) {
  const Storage storage = plan_storage(graph::parse(graph_text()));
  EXPECT_EQ(print(Ownership(storage, {.dp = 1, .tp = 2, .servers = 1})),
            "rank 0 dp=0 tp=0: computes with 4 units, owns 0 elements; keeps weights 3.4 MiB, gradients 3.4 "
            "MiB an accumulator\n"
            "rank 1 dp=0 tp=1: computes with 4 units, owns 0 elements; keeps weights 3.4 MiB, gradients 3.4 "
            "MiB an accumulator\n"
            "rank 2 server: computes nothing, owns 1100003 elements; keeps weights 4.2 MiB\n");
}

}  // namespace
}  // namespace shoal::lower
