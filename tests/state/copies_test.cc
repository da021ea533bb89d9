// Folders of checkpoints that were copied by what does not keep links, and checkpoints that lost a file.
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

void copy_folder(const fs::path& from, const fs::path& to) {
  fs::copy(from, to, fs::copy_options::recursive);
}

/// `latest` as cp -rL leaves it: a folder like the newest step.
void follow_the_link(const fs::path& checkpoints) {
  const fs::path target = checkpoints / fs::read_symlink(checkpoints / "latest");
  fs::remove(checkpoints / "latest");
  copy_folder(target, checkpoints / "latest");
}

void flip_a_bit(const fs::path& file) {
  std::string bytes = read_text(file);
  bytes[bytes.size() / 2] ^= 1;
  write_text(file, bytes);
}

TEST(CopiedCheckpoints, ACopyOfTheLatestMakesWayForTheLink) {
  const TemporaryFolder folder;
  save_whole(folder / "step-5", make_state(5, 1));
  save_whole(folder / "step-6", make_state(6, 2));
  follow_the_link(folder.path());
  EXPECT_EQ(latest(folder.path()), folder / "step-6");
  EXPECT_EQ(Checkpoint(folder / "latest").contents().step, 6);
  save_whole(folder / "step-7", make_state(7, 3));
  EXPECT_EQ(fs::read_symlink(folder / "latest"), "step-7");
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"latest", "step-5", "step-6", "step-7"}));
  EXPECT_TRUE(holds(Checkpoint(folder / "step-6"), make_state(6, 2)));
}

TEST(CopiedCheckpoints, TheCopyIsKeptWhereItIsTheOnlyOne) {
  const TemporaryFolder folder;
  save_whole(folder / "step-5", make_state(5, 1));
  save_whole(folder / "step-6", make_state(6, 2));
  follow_the_link(folder.path());
  fs::remove_all(folder / "step-6");
  EXPECT_EQ(latest(folder.path()), folder / "latest") << "its step is the highest";
  EXPECT_EQ(Checkpoint(folder.path()).contents().step, 6);
  save_whole(folder / "step-7", make_state(7, 3));
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"latest", "step-5", "step-6", "step-7"}));
  EXPECT_TRUE(holds(Checkpoint(folder / "step-6"), make_state(6, 2)));
}

TEST(CopiedCheckpoints, WhatIsNotTheSameIsNeverRemoved) {
  const auto expect_kept = [](const char* what, const auto& change) {
    SCOPED_TRACE(what);
    const TemporaryFolder folder;
    save_whole(folder / "step-6", make_state(6, 2));
    follow_the_link(folder.path());
    change(folder);
    save_whole(folder / "step-7", make_state(7, 3));
    EXPECT_EQ(fs::read_symlink(folder / "latest"), "step-7");
    EXPECT_TRUE(fs::exists(folder / "latest-copy-1"));
    EXPECT_TRUE(fs::exists(folder / "step-6"));
  };
  expect_kept("the step is damaged, the copy is not",
              [](const TemporaryFolder& folder) { flip_a_bit(folder / "step-6/owner-00000.safetensors"); });
  expect_kept("another checkpoint of that step", [](const TemporaryFolder& folder) {
    fs::remove_all(folder / "step-6");
    save_whole(folder / "other/step-6", make_state(6, 9));
    copy_folder(folder / "other/step-6", folder / "step-6");
  });
  expect_kept("no checkpoint",
              [](const TemporaryFolder& folder) { fs::remove(folder / "latest/manifest.json"); });
}

TEST(CopiedCheckpoints, AFolderThatLostItsManifestIsNamedAndReplaced) {
  const TemporaryFolder folder;
  save_whole(folder / "step-5", make_state(5, 1));
  save_whole(folder / "step-6", make_state(6, 2));
  EXPECT_EQ(latest_without_manifest(folder.path()), std::nullopt);
  fs::remove(folder / "step-6/manifest.json");
  EXPECT_EQ(latest_without_manifest(folder.path()), folder / "step-6");
  EXPECT_EQ(newest_whole(folder.path()), folder / "step-5");
  fs::remove(folder / "latest");
  EXPECT_EQ(latest_without_manifest(folder.path()), folder / "step-6") << "without a link: the highest step";
  save_whole(folder / "step-6", make_state(6, 2));
  EXPECT_EQ(latest_without_manifest(folder.path()), std::nullopt);
  EXPECT_TRUE(holds(Checkpoint(folder / "step-6"), make_state(6, 2)));
}

TEST(CopiedCheckpoints, TheNewestWholeOneIsFoundByReadingIt) {
  const TemporaryFolder folder;
  EXPECT_EQ(newest_whole(folder / "nowhere"), std::nullopt);
  for (int64_t step : {5, 6, 7}) save_whole(folder / cat("step-", step), make_state(step, 1));
  EXPECT_EQ(newest_whole(folder.path()), folder / "step-7");
  flip_a_bit(folder / "step-7/owner-00000.safetensors");
  fs::resize_file(folder / "step-6/owner-00000.safetensors", 100);
  EXPECT_EQ(newest_whole(folder.path()), folder / "step-5");
}

// The names of slices are made of numbers, and so are the shapes that hashes are made of.
TEST(CheckpointLocale, GroupedDigitsDoNotReachFilesOrHashes) {
  struct Grouped : std::numpunct<char> {
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const TemporaryFolder folder;
  save_divided(folder / "plain", make_state(12'345, 1), 3, 1);
  const std::locale before = std::locale::global(std::locale(std::locale(), new Grouped));
  save_divided(folder / "grouped", make_state(12'345, 1), 3, 1);
  const bool is_read = holds(Checkpoint(folder / "plain"), make_state(12'345, 1));
  std::locale::global(before);
  EXPECT_TRUE(is_read);
  EXPECT_TRUE(holds(Checkpoint(folder / "grouped"), make_state(12'345, 1)));
  for (const char* const file : {"manifest.json", "owner-00000.safetensors", "owner-00002.safetensors"})
    EXPECT_TRUE(read_text(folder / "plain" / file) == read_text(folder / "grouped" / file)) << file;
}

}  // namespace
}  // namespace shoal::state
