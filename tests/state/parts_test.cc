// Divided tensors: reading them whole, the model alone as one file, checkpoints from before there were parts.
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/text.h"
#include "support.h"

namespace shoal::state {
namespace {

/// The obvious way: each element's index in the part, from its coordinates.
void scatter(const TensorSpec& spec, const std::vector<std::byte>& part, std::vector<std::byte>& whole) {
  const Division& division = *spec.division;
  const size_t size = static_cast<size_t>(element_bytes(spec.dtype)), dim = static_cast<size_t>(division.dim);
  const int64_t rest = spec.shape[dim] / division.outer / division.parts;
  const int64_t elements = std::ssize(whole) / static_cast<int64_t>(size);
  for (int64_t global = 0; global < elements; ++global) {
    std::vector<int64_t> at(spec.shape.size());
    int64_t left = global;
    for (size_t i = spec.shape.size(); i-- > 0; left /= spec.shape[i]) at[i] = left % spec.shape[i];
    if (at[dim] / rest % division.parts != division.part) continue;
    at[dim] = at[dim] / (rest * division.parts) * rest + at[dim] % rest;
    int64_t local = 0;
    for (size_t i = 0; i < at.size(); ++i) local = local * local_shape(spec)[i] + at[i];
    std::memcpy(&whole[static_cast<size_t>(global) * size], &part[static_cast<size_t>(local) * size], size);
  }
}

std::vector<std::byte> obvious_whole(const State& state, const TensorSpec& whole) {
  std::vector<std::byte> bytes(static_cast<size_t>(num_bytes(whole)));
  for (size_t i = 0; i < state.bytes.size(); ++i) {
    const TensorSpec& spec = state.contents.tensors[i];
    if (whole_of(spec) != whole) continue;
    if (spec.division)
      scatter(spec, state.bytes[i], bytes);
    else
      bytes = state.bytes[i];
  }
  return bytes;
}

std::vector<std::byte> read(const Checkpoint& checkpoint, const TensorSpec& whole) {
  std::vector<std::byte> bytes(static_cast<size_t>(num_bytes(whole)));
  checkpoint.read_whole(whole, bytes);
  return bytes;
}

TEST(CheckpointParts, PartsAreEveryElementOnceWhateverTheDivision) {
  Random random(1);
  for (int i = 0; i < 200; ++i) {
    TensorSpec spec{"w", "weight", "U8", {}};
    for (int64_t dims = 1 + below(random, 4); dims > 0; --dims) spec.shape.push_back(1 + below(random, 4));
    const int64_t parts = 2 + below(random, 3), outer = 1 + below(random, 3);
    const int64_t dim = below(random, std::ssize(spec.shape));
    spec.shape[static_cast<size_t>(dim)] *= parts * outer;
    const TensorSpec whole = spec;
    std::vector<std::byte> want(static_cast<size_t>(num_elements(whole)), std::byte{255}), got = want;
    for (int64_t part = 0; part < parts; ++part) {
      spec.division = {part, parts, dim, outer};
      std::vector<std::byte> bytes(static_cast<size_t>(num_elements(spec)));
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(below(random, 255));
      scatter(spec, bytes, want);
      const int64_t cut = below(random, num_elements(spec) + 1);  // in two pieces, as blocks come
      for (const Range piece : {Range{0, cut}, Range{cut, num_elements(spec)}})
        for_each_run(spec, piece, [&](int64_t to, int64_t from, int64_t count) {
          std::memcpy(&got[static_cast<size_t>(to)], &bytes[static_cast<size_t>(from)],
                      static_cast<size_t>(count));
        });
    }
    ASSERT_EQ(got, want) << type_text(spec);
    ASSERT_EQ(std::ranges::count(got, std::byte{255}), 0) << type_text(spec);
  }
}

TEST(CheckpointParts, AnyDivisionIntoSlicesReadsTheSameWholes) {
  const TemporaryFolder folder;
  const State state = make_state(12, 4);
  const auto wholes = whole_tensors(state.contents.tensors);
  EXPECT_EQ(wholes.size(), 12u);
  for (int ranks : {1, 4}) {
    save_divided(folder / "c", state, ranks, 7);
    const Checkpoint checkpoint(folder / "c");
    for (const TensorSpec& whole : wholes)
      EXPECT_EQ(read(checkpoint, whole), obvious_whole(state, whole)) << title(whole);
  }
}

TEST(CheckpointParts, WhatCannotBeReadWholeIsRefused) {
  const TemporaryFolder folder;
  save_whole(folder / "c", make_state(12, 4));
  const Checkpoint checkpoint(folder / "c");
  const std::string place = (folder / "c").string() + " - tensor ";
  const std::string advice = "; use the model and the optimizer that were saved";
  const auto said = [&](const TensorSpec& whole) {
    return sentence_of<InputError>([&] { read(checkpoint, whole); });
  };
  EXPECT_EQ(said({"qkv.weight", "weight", "F32", {20'000, 12}}),
            place + "qkv.weight (weight): got F32 [12, 20000], want F32 [20000, 12]" + advice);
  EXPECT_EQ(said({"qkv.weight", "momentum", "F32", {12}}),
            place + "qkv.weight (momentum): not in this checkpoint, want F32 [12]" + advice);
  std::vector<std::byte> few(5);
  EXPECT_EQ(sentence_of<InputError>([&] {
              checkpoint.read_whole({"ln.bias", "weight", "F32", {5}}, few);
            }),
            place + "ln.bias (weight): got 5 bytes to read into, want the size of the whole F32 [5]");
}

TEST(CheckpointParts, ADamagedBlockOfAPartIsNamed) {
  const TemporaryFolder folder;
  const State state = make_state(12, 4);
  save_whole(folder / "c", state);
  const auto path = folder / "c/owner-00000.safetensors";
  const int64_t offset = Checkpoint(folder / "c").manifest().stored[9].slices[0].offset + 4 * kBlockElements;
  std::string bytes = read_text(path);
  bytes[static_cast<size_t>(offset)] ^= 1;
  write_text(path, bytes);
  const Checkpoint checkpoint(folder / "c");
  const auto starts = [&](const std::string& said) {
    EXPECT_TRUE(said.starts_with(cat(path.string(),
                                     " - damaged: block 1 of qkv.weight (weight, part 1 of 2) at byte ",
                                     offset, ": got checksum ")))
        << said;
  };
  starts(sentence_of<InputError>([&] { checkpoint.verify(); }));
  starts(sentence_of<InputError>([&] { read(checkpoint, whole_of(state.contents.tensors[9])); }));
  starts(sentence_of<InputError>([&] { write_model(checkpoint, folder / "model"); }));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1)
      << "nothing is left behind";
}

TEST(CheckpointParts, TheModelAloneIsOneFileOfWholeTensors) {
  const TemporaryFolder folder;
  const State state = make_state(12, 4);
  save_divided(folder / "c", state, 3, 2);
  const auto out = folder / "model.safetensors";
  write_model(Checkpoint(folder / "c"), out);

  const std::string file = read_text(out);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  const auto header = nlohmann::json::parse(file.substr(8, length));
  EXPECT_EQ((8 + length) % 64, 0u);
  size_t end = 0, entries = 0;
  for (const TensorSpec& whole : whole_tensors(state.contents.tensors)) {
    if (whole.role == "exp_avg") continue;
    ++entries;
    ASSERT_TRUE(header.contains(whole.name));
    const auto& entry = header[whole.name];
    EXPECT_EQ(entry["dtype"], whole.dtype);
    EXPECT_EQ(entry["shape"], whole.shape);
    const size_t from = entry["data_offsets"][0], to = entry["data_offsets"][1];
    EXPECT_EQ(from % static_cast<size_t>(element_bytes(whole.dtype)), 0u) << whole.name;
    const std::vector<std::byte> want = obvious_whole(state, whole);
    EXPECT_EQ(file.substr(8 + length + from, to - from),
              std::string(reinterpret_cast<const char*>(want.data()), want.size()))
        << whole.name;
    end = std::max(end, to);
  }
  EXPECT_EQ(header.size(), entries + 1) << "and the metadata";
  EXPECT_EQ(8 + length + end, file.size());

  EXPECT_EQ(sentence_of<InputError>([&] { write_model(Checkpoint(folder / "c"), out); }),
            out.string() + " - is there already; remove it or choose another name");
  EXPECT_EQ(sentence_of<InputError>([&] { write_model(Checkpoint(folder / "c"), folder / "no/model"); }),
            (folder / "no/model").string() + " - cannot be written: there is no folder " +
                (folder / "no").string());
}

TEST(CheckpointParts, AWeightAndABufferOfOneNameCannotShareAFile) {
  const TemporaryFolder folder;
  Contents contents;
  contents.tensors = {{"w", "weight", "F32", {0}}, {"w", "buffer", "F32", {0}}};
  const auto communicator = comm::single();
  comm::Group world(*communicator);
  save(world, folder / "c", contents, {});
  EXPECT_EQ(sentence_of<InputError>([&] { write_model(Checkpoint(folder / "c"), folder / "model"); }),
            (folder / "c").string() +
                " - tensor w: is a weight and a buffer, want one of each name to write them into one file");
}

TEST(CheckpointParts, VersionOneIsRead) {
  const TemporaryFolder folder;
  State state = make_state(12, 4);
  state.contents.tensors.resize(8);  // the whole ones
  state.bytes.resize(8);
  save_whole(folder / "c", state);
  const std::string hash = content_hash(folder / "c");
  auto document = nlohmann::json::parse(read_text(folder / "c/manifest.json"));
  EXPECT_EQ(document["version"], 2);
  document.erase("checksum");
  document["version"] = 1;
  document["checksum"] = hash_hex(document.dump());
  write_text(folder / "c/manifest.json", document.dump());
  const Checkpoint checkpoint(folder / "c");
  checkpoint.verify();
  EXPECT_TRUE(holds(checkpoint, state));
  EXPECT_EQ(content_hash(folder / "c"), hash);
}

}  // namespace
}  // namespace shoal::state
