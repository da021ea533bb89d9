// Any division over any number of ranks saves the same content; any reader reads any of it.
#include <set>

#include "base/text.h"
#include "support.h"

namespace shoal::state {
namespace {

TEST(CheckpointLayout, EveryDivisionHasOneContentHash) {
  const TemporaryFolder folder;
  const State state = make_state(12, 1);
  save_whole(folder / "whole", state);
  const std::string want = content_hash(folder / "whole");
  for (int ranks : {1, 2, 3, 5}) {
    for (uint64_t seed : {1, 2, 3}) {
      SCOPED_TRACE(cat(ranks, " ranks, seed ", seed));
      const auto path = folder / cat("divided-", ranks, "-", seed);
      save_divided(path, state, ranks, seed);
      EXPECT_EQ(content_hash(path), want);
      const Checkpoint checkpoint(path);
      checkpoint.verify();
      EXPECT_TRUE(holds(checkpoint, state));
    }
  }
}

TEST(CheckpointLayout, EveryDifferenceChangesTheContentHash) {
  const TemporaryFolder folder;
  const auto hash_of = [&](const State& state) {
    save_whole(folder / "c", state);
    return content_hash(folder / "c");
  };
  const State base = make_state(12, 1);
  std::set<std::string> hashes = {hash_of(base)};
  const auto expect_new = [&](const char* what, const auto& change) {
    State state = base;
    change(state);
    EXPECT_TRUE(hashes.insert(hash_of(state)).second) << what;
  };
  expect_new("step", [](State& s) { s.contents.step += 1; });
  expect_new("samples", [](State& s) { s.contents.samples += 1; });
  expect_new("run", [](State& s) { s.contents.run["seed"] = 8; });
  expect_new("name", [](State& s) { s.contents.tensors[2].name = "ln.biases"; });
  expect_new("role", [](State& s) { s.contents.tensors[3].role = "momentum"; });
  expect_new("dtype", [](State& s) { s.contents.tensors[2].dtype = "I32"; });
  expect_new("shape", [](State& s) { s.contents.tensors[2].shape = {1, 5}; });
  expect_new("the divided dim", [](State& s) {
    for (TensorSpec& spec : s.contents.tensors)
      if (spec.name == "qkv.weight") spec.division->dim = spec.division->outer = 1;
  });
  expect_new("the outer of the divided dim", [](State& s) {
    for (TensorSpec& spec : s.contents.tensors)
      if (spec.name == "qkv.weight") spec.division->outer = 1;
  });
  expect_new("whether it is divided", [](State& s) {
    auto& tensors = s.contents.tensors;
    for (size_t i = 0; i < tensors.size();) {
      if (tensors[i].name != "void") {
        ++i;
        continue;
      }
      tensors.erase(tensors.begin() + static_cast<int64_t>(i));
      s.bytes.erase(s.bytes.begin() + static_cast<int64_t>(i));
    }
    tensors.push_back({"void", "weight", "F32", {4, 0}});
    s.bytes.emplace_back();
  });
  expect_new("order", [](State& s) {
    std::swap(s.contents.tensors[2], s.contents.tensors[3]);
    std::swap(s.bytes[2], s.bytes[3]);
  });
  expect_new("a bit of the last element", [](State& s) { s.bytes[0].back() ^= std::byte{1}; });
}

// Model-based: the real reader against memcpy.
TEST(CheckpointLayout, AnyRangeOfAnyDivisionReadsTheSameBytes) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    const TemporaryFolder folder;
    Random random(seed);
    const State state = make_state(3, seed);
    save_divided(folder / "c", state, 1 + static_cast<int>(below(random, 6)), seed);
    const Checkpoint checkpoint(folder / "c");
    for (int i = 0; i < 100; ++i) {
      const size_t tensor = static_cast<size_t>(below(random, std::ssize(state.bytes)));
      const TensorSpec& spec = state.contents.tensors[tensor];
      const int64_t begin = below(random, num_elements(spec) + 1);
      const int64_t end = begin + below(random, num_elements(spec) - begin + 1);
      const size_t size = static_cast<size_t>(element_bytes(spec.dtype));
      std::vector<std::byte> got(static_cast<size_t>(end - begin) * size);
      checkpoint.read(tensor, {begin, end}, got);
      const auto want = std::span(state.bytes[tensor]).subspan(static_cast<size_t>(begin) * size, got.size());
      ASSERT_TRUE(std::ranges::equal(got, want)) << title(spec) << " [" << begin << ", " << end << ")";
    }
  }
}

TEST(CheckpointLayout, ARankThatOwnsNothingWritesNoFile) {
  const TemporaryFolder folder;
  const State state = make_state(1, 1);
  std::vector<Slice> all;
  for (size_t i = 0; i < state.bytes.size(); ++i)
    all.push_back({i, {0, num_elements(state.contents.tensors[i])}, state.bytes[i]});
  comm::run_threads(3, [&](comm::Communicator& communicator) {
    comm::Group world(communicator);
    save(world, folder / "c", state.contents,
         world.rank() == 1 ? std::span<const Slice>(all) : std::span<const Slice>());
  });
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "c"))
    names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{"manifest.json", "owner-00001.safetensors"}));
  EXPECT_TRUE(holds(Checkpoint(folder / "c"), state));
}

/// What each of `ranks` ranks says when it saves `slices(rank)`; the folder must stay away.
std::set<std::string> refusals(const TemporaryFolder& folder, int ranks, const Contents& contents,
                               const std::function<std::vector<Slice>(int)>& slices) {
  std::vector<std::string> said(static_cast<size_t>(ranks));
  comm::run_threads(ranks, [&](comm::Communicator& communicator) {
    comm::Group world(communicator);
    Contents mine = contents;
    if (contents.step == 99) mine.step += world.rank();
    said[static_cast<size_t>(world.rank())] =
        sentence_of<JobError>([&] { save(world, folder / "c", mine, slices(world.rank())); });
  });
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  return {said.begin(), said.end()};
}

TEST(CheckpointLayout, AllRanksRefuseWhatIsNotEveryTensorOnce) {
  const TemporaryFolder folder;
  constexpr int64_t kSize = 3 * kBlockElements;
  const std::vector<std::byte> bytes(kSize * 4);
  const auto part = [&](int64_t begin, int64_t end) {
    return Slice{0, {begin, end}, std::span(bytes).first(static_cast<size_t>(4 * (end - begin)))};
  };
  Contents contents;
  contents.tensors = {{"w", "weight", "F32", {kSize}}};
  const std::string place = (folder / "c").string() + " - not saved: ";
  using Said = std::set<std::string>;

  EXPECT_EQ(refusals(folder, 2, contents,
                     [&](int rank) {
                       return std::vector{rank ? part(2 * kBlockElements, kSize) : part(0, kBlockElements)};
                     }),
            Said{place + "tensor w (weight): elements [65536, 131072) are in no slice"});
  EXPECT_EQ(refusals(folder, 2, contents, [&](int) { return std::vector{part(0, kSize)}; }),
            Said{place + "tensor w (weight): elements [0, 196608) are in two slices"});
  EXPECT_EQ(refusals(folder, 2, contents,
                     [&](int rank) { return std::vector{rank ? part(100, kSize) : part(0, 100)}; }),
            Said{place + "tensor w (weight): got elements [0, 100) of 196608, want whole blocks of 65536"});
  EXPECT_EQ(refusals(folder, 2, contents, [&](int) { return std::vector<Slice>{}; }),
            Said{place + "tensor w (weight): elements [0, 196608) are in no slice"});
  EXPECT_EQ(refusals(folder, 2, contents,
                     [&](int rank) {
                       return rank ? std::vector{Slice{1, {0, 1}, {}}} : std::vector{part(0, kSize)};
                     }),
            Said{place + "rank 1: got a slice of tensor 1, want one of the 1"});
  EXPECT_EQ(refusals(folder, 2, contents,
                     [&](int rank) {
                       return rank ? std::vector{Slice{0, {0, 9}, {}}} : std::vector{part(0, kSize)};
                     }),
            Said{place + "rank 1: tensor w (weight): got 0 bytes, want 9 elements of F32"});

  contents.step = 99;  // the ranks will differ in it
  EXPECT_EQ(refusals(folder, 3, contents,
                     [&](int rank) { return rank ? std::vector<Slice>{} : std::vector{part(0, kSize)}; }),
            Said{place + "rank 1 has other contents (run, step, samples or tensors) than rank 0"});
}

TEST(CheckpointLayout, RefusesContentsThatCannotBeNamed) {
  const TemporaryFolder folder;
  const auto refusal = [&](std::vector<TensorSpec> tensors) {
    Contents contents;
    contents.tensors = std::move(tensors);
    const auto communicator = comm::single();
    comm::Group world(*communicator);
    const std::string said = sentence_of<JobError>([&] { save(world, folder / "c", contents, {}); });
    const std::string place = (folder / "c").string() + " - not saved: rank 0: tensor ";
    EXPECT_TRUE(said.starts_with(place)) << said;
    return said.substr(std::min(said.size(), place.size()));
  };
  EXPECT_EQ(refusal({{"w", "weight", "F33", {2}}}),
            "w (weight): dtype: got F33, want a safetensors dtype such as F32");
  EXPECT_EQ(refusal({{"w", "weight", "F32", {2, -1}}}),
            "w (weight): shape: got [2, -1], want sizes >= 0 of fewer than 2^60 bytes");
  EXPECT_EQ(
      refusal({{"w", "weight", "F32", {int64_t{1} << 40, int64_t{1} << 40}}}),
      "w (weight): shape: got [1099511627776, 1099511627776], want sizes >= 0 of fewer than 2^60 bytes");
  EXPECT_EQ(refusal({{"w", "weight", "F32", {0}}, {"w", "weight", "F32", {0}}}),
            "w (weight): got it twice, want it once");
  const auto part = [](int64_t part, int64_t parts, int64_t dim = 0, int64_t outer = 1) {
    return TensorSpec{"w", "weight", "F32", {6, 4}, Division{part, parts, dim, outer}};
  };
  EXPECT_EQ(refusal({part(0, 1)}),
            "w (weight, part 0 of 1): division: got part 0 of 1, want one of 2 or more");
  EXPECT_EQ(refusal({part(2, 2)}),
            "w (weight, part 2 of 2): division: got part 2 of 2, want one of 2 or more");
  EXPECT_EQ(refusal({part(0, 2, 2)}), "w (weight, part 0 of 2): division: got dim 2, want one of the 2");
  EXPECT_EQ(refusal({part(0, 4)}),
            "w (weight, part 0 of 4): division: got dim 0 of 6, want a multiple of 1 x 4");
  EXPECT_EQ(refusal({part(0, 2, 1, 3)}),
            "w (weight, part 0 of 2): division: got dim 1 of 4, want a multiple of 3 x 2");
  EXPECT_EQ(refusal({part(0, 3), part(2, 3)}), "w (weight, part 1 of 3): is not there, want all parts");
  EXPECT_EQ(refusal({part(1, 2), part(1, 2)}), "w (weight, part 1 of 2): got it twice, want it once");
  EXPECT_EQ(
      refusal({part(0, 2), part(1, 2, 1)}),
      "w (weight, part 1 of 2): got F32 [6, 4] in 2 parts of dim 1, want F32 [6, 4] in 2 parts of dim 0 as "
      "in w (weight, part 0 of 2)");
  EXPECT_EQ(
      refusal({part(1, 2, 0, 3), {"w", "weight", "F32", {6, 4}}}),
      "w (weight): got F32 [6, 4], want F32 [6, 4] in 2 parts of dim 0, outer 3 as in w (weight, part 1 of "
      "2)");
  EXPECT_EQ(refusal({{"w@x", "weight", "F32", {0}}}), "w@x (weight): want a name and a role without @ and [");
}

}  // namespace
}  // namespace shoal::state
