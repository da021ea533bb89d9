// The folder of checkpoints: latest, what is kept, what `shoal checkpoint show` prints.
#include <set>

#include "base/text.h"
#include "support.h"

namespace shoal::state {
namespace {

namespace fs = std::filesystem;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

TEST(CheckpointFolder, LatestFollowsTheSaves) {
  const TemporaryFolder folder;
  EXPECT_EQ(latest(folder.path()), std::nullopt);
  EXPECT_EQ(latest(folder / "nowhere"), std::nullopt);
  const fs::path checkpoints = folder / "run/checkpoints";  // save makes the folders above, too
  for (int64_t step : {5, 100, 20}) {
    save_whole(checkpoints / cat("step-", step), make_state(step, 1));
    EXPECT_EQ(fs::read_symlink(checkpoints / "latest"), cat("step-", step))
        << "relative, so that the run can be moved";
    for (const fs::path& path : {checkpoints, checkpoints / "latest", checkpoints / cat("step-", step)}) {
      EXPECT_EQ(Checkpoint(path).contents().step, step) << path;
      EXPECT_EQ(Checkpoint(path).folder(), checkpoints / cat("step-", step))
          << "named as it is, not by the link";
    }
  }
  EXPECT_EQ(latest(checkpoints), checkpoints / "step-20");
  fs::remove(checkpoints / "latest");
  EXPECT_EQ(latest(checkpoints), checkpoints / "step-100") << "the highest step, by number, without a link";
}

TEST(CheckpointFolder, AnyNameCanBeSavedTo) {
  const TemporaryFolder folder;
  save_whole(folder / "final/", make_state(5, 1));
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"final"}) << "no link is made for it";
  EXPECT_TRUE(holds(Checkpoint(folder / "final"), make_state(5, 1)));
}

TEST(CheckpointFolder, SavingAgainReplaces) {
  const TemporaryFolder folder;
  save_divided(folder / "step-5", make_state(5, 1), 5, 1);
  save_whole(folder / "step-5", make_state(5, 2));
  EXPECT_TRUE(holds(Checkpoint(folder / "step-5"), make_state(5, 2)));
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"latest", "step-5"}));
  EXPECT_EQ(names_in(folder / "step-5"), (std::set<std::string>{"manifest.json", "owner-00000.safetensors"}));
}

TEST(CheckpointFolder, NeverReplacesWhatIsNoCheckpoint) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "photos");
  write_text(folder / "photos/1.jpg", "beach");
  EXPECT_EQ(sentence_of<JobError>([&] { save_whole(folder / "photos", make_state(5, 1)); }),
            (folder / "photos").string() +
                " - is there already and is not a checkpoint; remove it or save elsewhere");
  EXPECT_EQ(read_text(folder / "photos/1.jpg"), "beach");
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"photos"});
}

TEST(CheckpointFolder, SaysWhyAFolderCannotBeMade) {
  const TemporaryFolder folder;
  write_text(folder / "file", "");
  EXPECT_EQ(sentence_of<JobError>([&] { save_whole(folder / "file/step-1", make_state(1, 1)); }),
            (folder / "file/.step-1.partial").string() + " - cannot be created: Not a directory");
}

TEST(CheckpointFolder, PruneKeepsTheNewestAndTheLatest) {
  const TemporaryFolder folder;
  for (int64_t step : {1, 9, 10, 11, 2}) save_whole(folder / cat("step-", step), make_state(step, 1));
  fs::create_directory(folder / ".step-3.partial");   // a crash while saving
  fs::create_directory(folder / ".step-9.replaced");  // a crash after replacing
  fs::create_directory(folder / ".step-4.replaced");  // a crash while replacing: the only copy
  fs::create_directory(folder / ".mine.partial");     // not ours
  fs::create_directory(folder / "step-5");            // not a checkpoint
  write_text(folder / "notes.txt", "");
  prune(folder.path(), 2);
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{
                                         "step-10",
                                         "step-11",
                                         "step-2",
                                         "latest",
                                         "step-5",
                                         "notes.txt",
                                         ".step-4.replaced",
                                         ".mine.partial",
                                     }));
  prune(folder.path(), 1);
  EXPECT_EQ(latest(folder.path()), folder / "step-2");
  EXPECT_FALSE(fs::exists(folder / "step-10"));
  EXPECT_TRUE(fs::exists(folder / "step-11"));
  prune(folder.path(), 100);
  EXPECT_TRUE(fs::exists(folder / "step-11"));
}

TEST(CheckpointFolder, DescribeSaysWhatIsThere) {
  const TemporaryFolder folder;
  save_whole(folder / "step-12", make_state(12, 1));
  const std::string hash = content_hash(folder / "step-12");
  EXPECT_EQ(describe(Checkpoint(folder / "step-12")),
            (folder / "step-12").string() +
                ": step 12, 192 samples\n"
                "content hash " +
                hash +
                "\n"
                "\n"
                "run\n"
                "  model           gpt\n"
                "  optimizer.lr    0.0003\n"
                "  optimizer.name  adamw\n"
                "  seed            7\n"
                "\n"
                "tensors\n"
                "  wte.weight   weight   F32 [3, 65536]                                 768 KiB\n"
                "  wte.weight   exp_avg  BF16 [3, 65536]                                384 KiB\n"
                "  ln.bias      weight   F32 [5]                                        20 B\n"
                "  ln.bias      exp_avg  F32 [5]                                        20 B\n"
                "  odd          weight   BF16 [65537]                                   128 KiB\n"
                "  mask         buffer   U8 [131071]                                    128 KiB\n"
                "  count        buffer   I64 []                                         8 B\n"
                "  nothing      weight   F32 [4, 0]                                     0 B\n"
                "  qkv.weight   weight   F32 [12, 20000] in 2 parts of dim 0, outer 3   938 KiB\n"
                "  qkv.weight   exp_avg  BF16 [12, 20000] in 2 parts of dim 0, outer 3  469 KiB\n"
                "  down.weight  weight   BF16 [7, 6, 2] in 3 parts of dim 1             168 B\n"
                "  void         weight   F32 [4, 0] in 2 parts of dim 0, outer 2        0 B\n"
                "\n"
                "12 tensors, 2.7 MiB\n"
                "  buffer   2 tensors  128 KiB\n"
                "  exp_avg  3 tensors  853 KiB\n"
                "  weight   7 tensors  1.8 MiB\n"
                "\n"
                "1 file\n"
                "  owner-00000.safetensors  2.7 MiB\n");
}

}  // namespace
}  // namespace shoal::state
