// What `shoal data` is asked to do: the text files to read and the token store to write.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace shoal::data {

inline constexpr int64_t kMaxShardTokens = int64_t{1}
                                           << 26;  // a shard is held in memory while it is written: 128 MiB

/// Each member is a key of the file, with its default. Relative paths are relative to the current directory;
/// `~` and variables are not expanded.
struct Pipeline {
  std::vector<std::string> inputs;    // folders, read recursively, or files, taken whatever their suffix
  std::vector<std::string> suffixes;  // of the files to take under a folder; empty: all
  std::vector<std::string> exclude;   // names of folders and files to leave out, wherever they lie
  int64_t max_file_bytes = int64_t{16} << 20;  // larger files are skipped
  int64_t max_bytes = 0;                    // stop before the file that would exceed it in total; 0: no limit
  int64_t validation_every = 20;            // the last of every so many documents is for validation; 0: none
  int64_t shard_tokens = int64_t{1} << 22;  // a power of two
  std::filesystem::path out;                // the folder of the store
};

/// Reads a pipeline file (TOML). Throws InputError with file and line. `inputs` and `out` may be missing from
/// it: the command line can give them.
Pipeline load_pipeline(const std::filesystem::path& file);

}  // namespace shoal::data
