// Every kind of damage is one sentence; random damage is never read as data.
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/text.h"
#include "support.h"

namespace shoal::state {
namespace {

namespace fs = std::filesystem;

class CheckpointDamage : public testing::Test {
 protected:
  CheckpointDamage() : state_(make_state(12, 3)), path_(folder_ / "step-12") {
    save_whole(path_, state_);
    good_manifest_ = read_text(path_ / "manifest.json");
  }

  /// What opening and verifying says, without the path before it.
  std::string said(const std::string& file = "") {
    const std::string text = sentence_of<InputError>([&] { Checkpoint(path_).verify(); });
    const std::string place = (file.empty() ? path_ : path_ / file).string() + " - ";
    EXPECT_TRUE(text.starts_with(place)) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 0);
    return text.substr(std::min(text.size(), place.size()));
  }

  void flip(const std::string& file, size_t byte) {
    std::string text = read_text(path_ / file);
    text.at(byte) ^= 1;
    write_text(path_ / file, text);
  }

  /// Changes the manifest as a faulty writer would: with a checksum that is right.
  template <class Change>
  void rewrite(const Change& change) {
    auto document = nlohmann::json::parse(good_manifest_);
    document.erase("checksum");
    change(document);
    document["checksum"] = hash_hex(document.dump());
    write_text(path_ / "manifest.json", document.dump());
  }

  const TemporaryFolder folder_;
  const State state_;
  const fs::path path_;
  const std::string owner_ = "owner-00000.safetensors";
  std::string good_manifest_;
};

TEST_F(CheckpointDamage, PathThatIsNoCheckpoint) {
  const std::string want = "; want a checkpoint (a folder with manifest.json) or a folder of checkpoints";
  const auto said_of = [&](const fs::path& path) {
    const std::string text = sentence_of<InputError>([&] { Checkpoint checkpoint(path); });
    EXPECT_TRUE(text.starts_with(path.string())) << text;
    EXPECT_TRUE(text.ends_with(want)) << text;
    return text.substr(path.string().size(), text.size() - path.string().size() - want.size());
  };
  EXPECT_EQ(said_of(folder_ / "nowhere"), " - no such file or folder");
  fs::create_directory(folder_ / "empty");
  EXPECT_EQ(said_of(folder_ / "empty"), " - not a checkpoint: no manifest.json in it");
  EXPECT_EQ(said_of(path_ / owner_), " - not a checkpoint: no manifest.json in it");
  fs::create_symlink("step-13", folder_ / "dangling");
  EXPECT_EQ(said_of(folder_ / "dangling"),
            " - not a checkpoint: a link to " + (folder_ / "step-13").string() + ", which is not there");
}

TEST_F(CheckpointDamage, Manifest) {
  const auto size = good_manifest_.size();
  write_text(path_ / "manifest.json", good_manifest_.substr(0, size / 2));
  EXPECT_EQ(said("manifest.json"), cat("damaged: got ", size / 2,
                                       " bytes that are not JSON, want a manifest; use another checkpoint"));
  write_text(path_ / "manifest.json", "");
  EXPECT_EQ(said("manifest.json"),
            "damaged: got 0 bytes that are not JSON, want a manifest; use another checkpoint");
  write_text(path_ / "manifest.json", "[1]");
  EXPECT_EQ(said("manifest.json"), "not a checkpoint's manifest: want \"format\": \"shoal-checkpoint\"");
  rewrite([](auto& document) { document["version"] = 3; });
  EXPECT_EQ(said("manifest.json"),
            "format version: got 3, want 1 or 2; read it with the version of Shoal that wrote it");

  std::string changed = good_manifest_;
  changed.replace(changed.find("\"step\": 12"), 10, "\"step\": 13");
  write_text(path_ / "manifest.json", changed);
  const std::string stated = nlohmann::json::parse(good_manifest_)["checksum"];
  const std::string text = said("manifest.json");
  EXPECT_TRUE(text.starts_with("damaged: got checksum ")) << text;
  EXPECT_TRUE(text.ends_with(", want " + stated + "; use another checkpoint")) << text;
}

TEST_F(CheckpointDamage, ManifestOfAFaultyWriter) {
  const auto said_after = [&](const auto& change) {
    rewrite(change);
    const std::string text = said("manifest.json"), start = "damaged: ", end = "; use another checkpoint";
    EXPECT_TRUE(text.starts_with(start) && text.ends_with(end)) << text;
    return text.substr(start.size(), text.size() - start.size() - end.size());
  };
  // wte.weight is 3 blocks in one slice [0, 196608, file 0, offset].
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][0]["slices"][0][1] = 65536; }),
            "tensor wte.weight (weight): elements [65536, 196608) are in no slice");
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][0]["slices"].push_back(d["tensors"][0]["slices"][0]); }),
            "tensor wte.weight (weight): elements [0, 196608) are in two slices");
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][0]["slices"][0][1] = int64_t{1} << 62; }),
            "tensor wte.weight (weight): got elements [0, 4611686018427387904) of 196608, want whole blocks "
            "of 65536");
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][0]["slices"][0][2] = 1; }),
            "tensor wte.weight (weight): elements [0, 196608) are in no file of the list");
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][0]["slices"][0][3] = INT64_MAX; }),
            "tensor wte.weight (weight): elements [0, 196608) lie outside of owner-00000.safetensors");
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][0]["slices"][0][3] = 0; }),
            "tensor wte.weight (weight): elements [0, 196608) lie outside of owner-00000.safetensors");
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][0]["blocks"].erase(1); }),
            "tensor wte.weight (weight): got 2 checksums, want 3");
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][0]["dtype"] = "F31"; }),
            "tensor wte.weight (weight): dtype: got F31, want a safetensors dtype such as F32");
  // 8 and 9 are the parts of qkv.weight.
  EXPECT_EQ(said_after([](auto& d) { d["tensors"][9]["division"]["part"] = 0; }),
            "tensor qkv.weight (weight, part 0 of 2): got it twice, want it once");
  EXPECT_EQ(
      said_after([](auto& d) { d["tensors"][9]["division"]["outer"] = 6; }),
      "tensor qkv.weight (weight, part 1 of 2): got F32 [12, 20000] in 2 parts of dim 0, outer 6, want F32 "
      "[12, 20000] in 2 parts of dim 0, outer 3 as in qkv.weight (weight, part 0 of 2)");
  EXPECT_EQ(
      said_after([](auto& d) {
        for (int i : {8, 9}) d["tensors"][i]["division"]["parts"] = INT64_MAX;
      }),
      "tensor qkv.weight (weight, part 0 of 9223372036854775807): division: got dim 0 of 12, want a multiple "
      "of 3 x 9223372036854775807");
  EXPECT_EQ(said_after([](auto& d) {
              for (int i : {8, 9}) d["tensors"][i]["division"]["parts"] = 4;
            }),
            "tensor qkv.weight (weight, part 2 of 4): is not there, want all parts");
  EXPECT_EQ(said_after([](auto& d) { d["tensors"].erase(9); }),
            "tensor qkv.weight (weight, part 1 of 2): is not there, want all parts");
  EXPECT_EQ(said_after([](auto& d) { d["files"][0]["name"] = "../owner"; }),
            "file ../owner: want a name in this folder");
  EXPECT_EQ(said_after([](auto& d) { d["files"][0]["header_bytes"] = INT64_MAX; }),
            "file owner-00000.safetensors: want its header to be within it");
  EXPECT_EQ(said_after(
                [](auto& d) { d["files"][0]["bytes"] = d["files"][0]["bytes"].template get<int64_t>() + 1; }),
            "file owner-00000.safetensors: want its bytes to be the slices'");
  const std::string wrong = "a key is missing or of the wrong type (";
  EXPECT_TRUE(said_after([](auto& d) { d.erase("samples"); }).starts_with(wrong));
  EXPECT_TRUE(said_after([](auto& d) { d["step"] = -1; }).starts_with(wrong));
  EXPECT_TRUE(said_after([](auto& d) { d["step"] = 1.5; }).starts_with(wrong));
  EXPECT_TRUE(said_after([](auto& d) { d["tensors"][8]["division"] = 2; }).starts_with(wrong));
  EXPECT_TRUE(said_after([](auto& d) { d["tensors"][8]["division"].erase("dim"); }).starts_with(wrong));
  EXPECT_TRUE(said_after([](auto& d) { d["tensors"][8]["division"]["dim"] = -1; }).starts_with(wrong));
  EXPECT_TRUE(said_after([](auto& d) { d["tensors"] = "none"; }).starts_with(wrong));
  EXPECT_TRUE(said_after([](auto& d) { d["tensors"][0]["slices"][0] = {1, 2}; }).starts_with(wrong));
  EXPECT_TRUE(said_after([](auto& d) { d["tensors"][0]["shape"] = {UINT64_MAX}; }).starts_with(wrong));
}

TEST_F(CheckpointDamage, FileMissingOrOfAnotherSize) {
  const auto size = fs::file_size(path_ / owner_);
  fs::resize_file(path_ / owner_, size - 1);
  EXPECT_EQ(said(owner_), cat("damaged: got ", size - 1, " bytes, want ", size, "; use another checkpoint"));
  fs::resize_file(path_ / owner_, size + 1);
  EXPECT_EQ(said(owner_), cat("damaged: got ", size + 1, " bytes, want ", size, "; use another checkpoint"));
  fs::remove(path_ / owner_);
  EXPECT_EQ(said(owner_), "cannot be read: No such file or directory; use another checkpoint");
}

TEST_F(CheckpointDamage, AFlippedBitNamesTensorBlockAndFile) {
  const Checkpoint checkpoint(path_);
  const StoredTensor& wte = checkpoint.manifest().stored[0];
  const size_t offset = static_cast<size_t>(wte.slices[0].offset) + 4 * kBlockElements;  // of block 1
  flip(owner_, offset + 100);
  const std::string text = said(owner_);
  EXPECT_TRUE(
      text.starts_with(cat("damaged: block 1 of wte.weight (weight) at byte ", offset, ": got checksum ")))
      << text;
  EXPECT_TRUE(text.ends_with(", want " + wte.blocks[1] + "; use another checkpoint")) << text;

  // Who reads other blocks does not notice; who reads one element of this one does.
  std::vector<std::byte> one(4);
  checkpoint.read(0, {kBlockElements - 1, kBlockElements}, one);
  checkpoint.read(0, {2 * kBlockElements, 2 * kBlockElements + 1}, one);
  EXPECT_EQ(sentence_of<InputError>([&] {
              checkpoint.read(0, {2 * kBlockElements - 1, 2 * kBlockElements}, one);
            }),
            (path_ / owner_).string() + " - " + text);
}

TEST_F(CheckpointDamage, AFlippedBitInAHeaderIsFoundByVerify) {
  flip(owner_, 20);
  const std::string text = said(owner_);
  EXPECT_TRUE(text.starts_with("damaged: its header: got checksum ")) << text;
  EXPECT_TRUE(holds(Checkpoint(path_), state_)) << "the manifest alone says where the data are";
}

TEST_F(CheckpointDamage, TensorsThatAreNotTheModels) {
  const Checkpoint checkpoint(path_);
  EXPECT_EQ(checkpoint.find(state_.contents.tensors[3]), 3u);
  const std::string advice = "; use the model and the optimizer that were saved";
  const auto said_of = [&](const TensorSpec& want) {
    return sentence_of<InputError>([&] { checkpoint.find(want); });
  };
  EXPECT_EQ(said_of({"wte.weight", "weight", "F32", {3, 4}}),
            path_.string() + " - tensor wte.weight (weight): got F32 [3, 65536], want F32 [3, 4]" + advice);
  EXPECT_EQ(
      said_of({"wte.weight", "weight", "BF16", {3, 65536}}),
      path_.string() + " - tensor wte.weight (weight): got F32 [3, 65536], want BF16 [3, 65536]" + advice);
  EXPECT_EQ(
      said_of({"wte.weight", "momentum", "F32", {3}}),
      path_.string() + " - tensor wte.weight (momentum): not in this checkpoint, want F32 [3]" + advice);

  EXPECT_EQ(checkpoint.find(state_.contents.tensors[9]), 9u);
  TensorSpec part = state_.contents.tensors[9];
  part.division = {3, 4, 0, 3};
  EXPECT_EQ(said_of(part), path_.string() +
                               " - tensor qkv.weight (weight, part 3 of 4): got F32 [12, 20000] in 2 "
                               "parts of dim 0, outer 3, want F32 [12, 20000] in 4 parts of dim 0, "
                               "outer 3" +
                               advice);
  EXPECT_EQ(said_of(whole_of(part)),
            path_.string() +
                " - tensor qkv.weight (weight): got F32 [12, 20000] in 2 parts of dim 0, outer 3, want "
                "F32 [12, 20000]" +
                advice);

  std::vector<std::byte> bytes(8);
  EXPECT_EQ(sentence_of<InputError>([&] {
              checkpoint.read(2, {4, 6}, bytes);
            }),
            path_.string() +
                " - tensor ln.bias (weight): got elements [4, 6) into 8 bytes, want a part of F32 [5] into "
                "its size");
  EXPECT_EQ(sentence_of<InputError>([&] {
              checkpoint.read(2, {0, 1}, bytes);
            }),
            path_.string() +
                " - tensor ln.bias (weight): got elements [0, 1) into 8 bytes, want a part of F32 [5] into "
                "its size");
}

/// Flips, overwrites, cuts, removes or inserts at a random place.
std::string damaged(std::string text, Random& random) {
  const size_t place = static_cast<size_t>(below(random, std::ssize(text)));
  const size_t length = static_cast<size_t>(1 + below(random, 200));
  switch (below(random, 5)) {
    case 0:
      text[place] ^= static_cast<char>(1 << below(random, 8));
      break;
    case 1:
      text[place] = static_cast<char>(random());
      break;
    case 2:
      text.resize(place);
      break;
    case 3:
      text.erase(place, length);
      break;
    case 4:
      text.insert(place, text.substr(static_cast<size_t>(below(random, std::ssize(text))), length));
      break;
  }
  return text;
}

TEST(CheckpointFuzz, DamageIsAnErrorOrHarmless) {
  int errors = 0, harmless = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(cat("seed ", seed));
    Random random(seed);
    // A new division every 40 seeds; the damage is undone after each.
    static const State state = make_state(12, 1);
    static const TemporaryFolder folder;
    const auto path = folder / "step-12";
    if (seed % 40 == 1) save_divided(path, state, 1 + static_cast<int>(below(random, 5)), seed);

    std::vector<fs::path> files = {path / "manifest.json"};
    const Manifest manifest = Checkpoint(path).manifest();
    for (const StoredFile& file : manifest.files) files.push_back(path / file.name);
    const fs::path file =
        seed % 2 ? files[0] : files[static_cast<size_t>(1 + below(random, std::ssize(files) - 1))];
    const std::string good = read_text(file), bad = damaged(good, random);
    write_text(file, bad);
    try {
      const Checkpoint checkpoint(path);
      checkpoint.verify();
      ASSERT_TRUE(holds(checkpoint, state));
      // Only white space in the manifest, and a byte replaced by itself, may change and pass.
      ASSERT_TRUE(bad == good || file == files[0]);
      ++harmless;
    } catch (const InputError& error) {
      ++errors;
    }
    // Without verify: what is read must be right or refused.
    try {
      ASSERT_TRUE(holds(Checkpoint(path), state));
    } catch (const InputError&) {
    }
    write_text(file, good);
  }
  EXPECT_GT(errors, 350);
  EXPECT_LT(harmless, 50);
}

}  // namespace
}  // namespace shoal::state
