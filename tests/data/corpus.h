// Folders of text for the tests of data, and the store they should give, worked out in the plainest way.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "comm/group.h"
#include "comm/launch.h"
#include "data/build_store.h"
#include "shoal/error.h"

namespace shoal::data {

namespace fs = std::filesystem;

/// A new folder, removed at the end. In memory where the system has a place for that: these tests write
/// thousands of files, each synced.
class TempFolder {
 public:
  TempFolder() {
    const bool has_memory = ::access("/dev/shm", W_OK) == 0;
    std::string name =
        ((has_memory ? fs::path("/dev/shm") : fs::temp_directory_path()) / "shoal_data_XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const fs::path& name) const { return path_ / name; }

 private:
  fs::path path_;
};

inline void write_file(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Everything in a folder, by name.
inline std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename().string()] = read_file(entry.path());
  return files;
}

/// Files by their path below the input folder. std::map sorts them as the store does.
using Corpus = std::map<std::string, std::string>;

inline void write_corpus(const fs::path& folder, const Corpus& corpus) {
  fs::create_directories(folder);
  for (const auto& [name, content] : corpus) write_file(folder / name, content);
}

/// Sizes at and around the borders of shards, files over many shards, empty and binary files, names that sort
/// in surprising ways.
inline Corpus random_corpus(std::mt19937& random, int64_t shard_tokens) {
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  static const std::vector<std::string> kFolders = {"", "a/", "a b/", "a-/", "a/b/", "z/\xc3\xa9/", "Z/"};
  Corpus corpus;
  for (int64_t i = 0, n = 1 + below(30); i < n; ++i) {
    const std::vector<int64_t> sizes = {0,
                                        1,
                                        1,
                                        2,
                                        shard_tokens - 2,
                                        shard_tokens - 1,
                                        shard_tokens,
                                        2 * shard_tokens - 1,
                                        below(shard_tokens),
                                        below(4 * shard_tokens)};
    std::string content(
        static_cast<size_t>(sizes[static_cast<size_t>(below(static_cast<int64_t>(sizes.size())))]), ' ');
    for (char& c : content) c = static_cast<char>(1 + below(255));
    if (!content.empty() && below(10) == 0)
      content[static_cast<size_t>(below(static_cast<int64_t>(content.size())))] = '\0';
    corpus[kFolders[static_cast<size_t>(below(static_cast<int64_t>(kFolders.size())))] +
           std::to_string(below(100)) + ".txt"] = content;
  }
  corpus["always.txt"] = "one document at least";
  return corpus;
}

/// The tokens of each split, one document after another.
inline std::map<Split, std::vector<uint16_t>> expected_tokens(const Corpus& corpus,
                                                              int64_t validation_every) {
  std::map<Split, std::vector<uint16_t>> tokens;
  int64_t document = 0;
  for (const auto& [name, content] : corpus) {
    if (content.empty() || content.find('\0') != std::string::npos) continue;
    const bool validates = validation_every > 0 && document % validation_every == validation_every - 1;
    auto& split = tokens[validates ? Split::kValidation : Split::kTrain];
    for (unsigned char byte : content) split.push_back(byte);
    split.push_back(256);
    ++document;
  }
  return tokens;
}

inline BuildReport build_on(
    int devices, const Pipeline& pipeline, const OnProgress& on_progress = [](const Progress&) {}) {
  BuildReport report;
  comm::run_threads(devices, [&](comm::Communicator& communicator) {
    comm::Group comm(communicator);
    const BuildReport mine = build_store(comm, pipeline, on_progress);
    if (comm.rank() == 0) report = mine;
  });
  return report;
}

/// What `action` throws, as text: "input: ..." or "job: ...".
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const InputError& error) {
    return std::string("input: ") + error.what();
  } catch (const JobError& error) {
    return std::string("job: ") + error.what();
  }
  return "nothing thrown";
}

}  // namespace shoal::data
