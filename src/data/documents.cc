#include "data/documents.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "base/hash.h"
#include "base/text.h"
#include "data/rounds.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
namespace fs = std::filesystem;

constexpr int64_t kBatchBytes = int64_t{4} << 20;  // a round of the first pass, per rank
constexpr int64_t kBatchFiles = 1024;
constexpr size_t kChunkBytes = size_t{1} << 20;

struct FoundFile {
  std::string path;
  int64_t bytes;
};

struct FileList {
  std::vector<FoundFile> files;
  Skipped skipped;
};

bool is_wanted(const Pipeline& pipeline, const std::string& name) {
  return pipeline.suffixes.empty() ||
         std::any_of(pipeline.suffixes.begin(), pipeline.suffixes.end(),
                     [&](const std::string& suffix) { return name.ends_with(suffix); });
}

[[noreturn]] void refuse(const fs::path& path, const std::error_code& error) {
  throw InputError(
      cat(path.string(), " - cannot be read: ", error.message(), "; correct inputs, or name it in exclude"));
}

/// The wanted files below `folder`, by path, bytewise. Symbolic links are not followed, `out` is not entered.
std::vector<FoundFile> walk(const Pipeline& pipeline, const fs::path& folder) {
  std::vector<FoundFile> found;
  std::vector<fs::path> folders = {folder};
  while (!folders.empty()) {
    const fs::path here = std::move(folders.back());
    folders.pop_back();
    std::error_code error;
    fs::directory_iterator entries(here, error);
    if (error) refuse(here, error);
    while (entries != fs::directory_iterator()) {
      const fs::path path = entries->path();
      const std::string name = path.filename().string();
      const fs::file_status status = entries->symlink_status(error);
      if (error) refuse(path, error);
      std::error_code not_there;
      if (std::count(pipeline.exclude.begin(), pipeline.exclude.end(), name) == 0) {
        if (fs::is_directory(status)) {
          if (!fs::equivalent(path, pipeline.out, not_there)) folders.push_back(path);
        } else if (fs::is_regular_file(status) && is_wanted(pipeline, name)) {
          const auto bytes = entries->file_size(error);
          if (error) refuse(path, error);
          found.push_back({path.string(), static_cast<int64_t>(bytes)});
        }
      }
      entries.increment(error);
      if (error) refuse(here, error);
    }
  }
  // All begin with the same folder, so this is the order of the paths below it, wherever the folder lies.
  std::sort(found.begin(), found.end(),
            [](const FoundFile& a, const FoundFile& b) { return a.path < b.path; });
  return found;
}

FileList list_files(const Pipeline& pipeline) {
  if (pipeline.inputs.empty())
    throw InputError(
        "inputs - got no folder or file, want at least one; write inputs = [\"FOLDER\"] or give --input "
        "FOLDER");
  FileList list;
  int64_t total = 0;
  for (const std::string& input : pipeline.inputs) {
    std::error_code error;
    std::vector<FoundFile> files;
    if (fs::is_directory(input, error)) {
      files = walk(pipeline, input);
    } else {
      const auto bytes = fs::file_size(input, error);
      if (error) refuse(input, error);
      files = {{input, static_cast<int64_t>(bytes)}};
    }
    for (FoundFile& file : files) {
      if (file.bytes == 0) {
        ++list.skipped.empty;
      } else if (file.bytes > pipeline.max_file_bytes) {
        ++list.skipped.too_large;
      } else if (list.skipped.over_limit > 0 ||
                 (pipeline.max_bytes > 0 && total + file.bytes > pipeline.max_bytes)) {
        ++list.skipped.over_limit;
      } else {
        total += file.bytes;
        list.files.push_back(std::move(file));
      }
    }
  }
  return list;
}

// Messages between ranks: fields that each end in a NUL, which no path and no number holds.
constexpr char kEnd = '\0';

std::string to_message(const FileList& list) {
  const Skipped& s = list.skipped;
  std::string message = cat(s.empty, kEnd, s.too_large, kEnd, s.over_limit, kEnd);
  for (const FoundFile& file : list.files) message += cat(file.path, kEnd, file.bytes, kEnd);
  return message;
}

FileList from_message(const std::string& message) {
  const std::vector<std::string> fields = split(message, kEnd);
  FileList list;
  list.skipped = {.empty = std::stoll(fields[0]),
                  .too_large = std::stoll(fields[1]),
                  .over_limit = std::stoll(fields[2])};
  for (size_t i = 3; i + 1 < fields.size(); i += 2)
    list.files.push_back({fields[i], std::stoll(fields[i + 1])});
  return list;
}

/// One file read: when it was last written, and its digest, or none if it is not text. A change during this
/// is for the second pass to find.
std::string scan(const FoundFile& found, std::span<std::byte> buffer) {
  const InputFile file(found.path);
  const InputFile::State state = file.state();
  file.expect_unchanged({found.bytes, state.modified_ns});  // since it was listed
  std::string digest;
  for (int64_t offset = 0; offset < state.bytes;) {
    const size_t got = file.read(offset, buffer);
    if (got == 0) break;  // it became shorter
    if (std::memchr(buffer.data(), 0, got) != nullptr) {
      digest.clear();
      break;
    }
    digest = hash_hex(digest + hash_hex(buffer.first(got)));
    offset += static_cast<int64_t>(got);
  }
  return cat(state.modified_ns, kEnd, digest, kEnd);
}

}  // namespace

Documents find_documents(comm::Group& comm, const Pipeline& pipeline,
                         const std::function<void(int64_t, int64_t)>& progress) {
  const FileList list =
      from_message(share_text(comm, 0, comm.rank() == 0 ? to_message(list_files(pipeline)) : ""));

  std::vector<size_t> batch_ends;  // consecutive files, about equal bytes
  std::vector<int64_t> bytes_before = {0};
  int64_t total = 0, files = 0;
  for (size_t i = 0; i < list.files.size(); ++i) {
    total += list.files[i].bytes;
    if (++files == kBatchFiles || total - bytes_before.back() >= kBatchBytes || i + 1 == list.files.size()) {
      batch_ends.push_back(i + 1);
      bytes_before.push_back(total);
      files = 0;
    }
  }

  std::vector<std::byte> buffer(kChunkBytes);
  const auto scan_batch = [&](int64_t batch) {
    std::string message;
    for (size_t i = batch == 0 ? 0 : batch_ends[static_cast<size_t>(batch) - 1];
         i < batch_ends[static_cast<size_t>(batch)]; ++i) {
      message += scan(list.files[i], buffer);
    }
    return message;
  };
  const auto scans = in_rounds(comm, static_cast<int64_t>(batch_ends.size()), scan_batch, [&](int64_t done) {
    progress(bytes_before[static_cast<size_t>(done)], total);
  });

  Documents documents;
  documents.skipped = list.skipped;
  auto file = list.files.begin();
  for (const std::string& message : scans) {
    const std::vector<std::string> fields = split(message, kEnd);
    for (size_t i = 0; i + 1 < fields.size(); i += 2, ++file) {
      if (fields[i + 1].empty()) {
        ++documents.skipped.not_text;
      } else {
        documents.list.push_back({file->path, {file->bytes, std::stoll(fields[i])}, fields[i + 1]});
      }
    }
  }
  if (documents.list.empty()) {
    const Skipped& s = documents.skipped;
    throw InputError(
        cat(join(pipeline.inputs, ", "), " - no text found: got ", s.empty, " empty, ", s.not_text,
            " binary, ", s.too_large, " too large and ", s.over_limit,
            " more files than max_bytes allows, want at least one file of text",
            pipeline.suffixes.empty() ? "" : cat(" whose name ends in ", join(pipeline.suffixes, " or ")),
            "; correct inputs or suffixes"));
  }
  return documents;
}

}  // namespace shoal::data
