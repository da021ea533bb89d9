// The steps, and what a kill between them leaves (docs/token_store.md, "unfinished work"):
//   check_folder     nothing
//   find_documents   nothing
//   claim            an empty folder
//   check_shard      as before: only reads
//   write_shard      shards with their .sum, and at most one .part per rank
//   write_manifest   the store, with leftovers that the next run removes
#include "data/build_store.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <memory>
#include <set>
#include <span>
#include <sstream>
#include <system_error>

#include "base/hash.h"
#include "base/text.h"
#include "data/files.h"
#include "data/rounds.h"
#include "data/shard_plan.h"
#include "shoal/error.h"
#include "state/durable.h"

namespace shoal::data {

namespace {
namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "tokens are stored as they lie in memory");

struct Finished {
  std::string checksum;
  std::vector<int64_t> counts;  // of each token
};

std::string to_message(const std::string& checksum, std::span<const uint16_t> tokens) {
  std::vector<int64_t> counts(kByteVocabulary);
  for (uint16_t token : tokens) ++counts[token];
  return cat(checksum, " ", join(counts, " "));
}

Finished from_message(const std::string& message) {
  std::istringstream fields(message);
  fields.imbue(std::locale::classic());
  Finished shard{{}, std::vector<int64_t>(kByteVocabulary)};
  fields >> shard.checksum;
  for (int64_t& count : shard.counts) fields >> count;
  return shard;
}

/// Throws unless the folder is missing, empty, or holds a token store or unfinished work on one.
void check_folder(const fs::path& out) {
  if (out.empty())
    throw InputError(
        "out - got no folder, want where to write the store; write out = \"FOLDER\" or give --out FOLDER");
  std::error_code error;
  if (!fs::exists(out, error)) return;
  if (!fs::is_directory(out, error))
    throw InputError(
        cat(out.string(), " - not a folder: want a new one, or a token store; name another --out"));
  std::vector<std::string> foreign;
  for (fs::directory_iterator entry(out, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!is_store_file(name) || !entry->is_regular_file(error)) foreign.push_back(name);
  }
  if (error)
    throw InputError(cat(out.string(), " - cannot be read: ", error.message(), "; name another --out"));
  if (!foreign.empty()) {
    throw InputError(cat(out.string(), " - holds something else than a token store: got ",
                         *std::min_element(foreign.begin(), foreign.end()),
                         ", want a new or empty folder; name another --out"));
  }
  if (fs::exists(out / kManifestName, error))
    load_manifest(out);
  else if (::access(out.c_str(), W_OK | X_OK) != 0)
    throw InputError(cat(out.string(), " - cannot be written: ", std::generic_category().message(errno),
                         "; name another --out"));
}

/// Collective. The folder exists, and no other build works there for as long as the lock lives.
std::unique_ptr<FolderLock> claim(comm::Group& comm, const fs::path& out) {
  const auto lock = [&] {
    std::error_code error;
    fs::create_directories(out, error);
    if (error)
      throw InputError(cat(out.string(), " - cannot be made: ", error.message(), "; name another --out"));
    return std::make_unique<FolderLock>(out);
  };
  if (comm.rank() != 0) {
    comm.barrier();
    auto mine = lock();
    mine->share();
    return mine;
  }
  auto mine = lock();
  mine->own();
  mine->share();
  comm.barrier();
  return mine;
}

/// One build: where, what, and how to say what comes next.
struct Build {
  const Pipeline& pipeline;
  const ShardPlan& plan;
  OnStep on_step;

  fs::path path(const ShardPlan::Shard& shard, const char* suffix) const {
    return pipeline.out / (shard.stem + suffix);
  }

  /// A shard that is already there as it should be, or "".
  std::string check_shard(const ShardPlan::Shard& shard, const std::string& known_checksum) const {
    std::error_code error;
    std::vector<uint16_t> tokens(static_cast<size_t>(shard.tokens.size()));
    if (fs::file_size(path(shard, ".tokens"), error) != tokens.size() * sizeof(uint16_t)) return "";
    InputFile(path(shard, ".tokens")).read(0, std::as_writable_bytes(std::span(tokens)));
    const std::string checksum = hash_hex(std::as_bytes(std::span(tokens)));
    return checksum == known_checksum ? to_message(checksum, tokens) : "";
  }

  std::string write_shard(const ShardPlan::Shard& shard) const {
    const std::vector<uint16_t> tokens = plan.read(shard);
    const std::string checksum = hash_hex(std::as_bytes(std::span(tokens)));
    write_whole(path(shard, ".tokens"), std::as_bytes(std::span(tokens)), on_step);
    const std::string line = cat(plan.input(), " ", checksum, "\n");
    write_whole(path(shard, ".sum"), std::as_bytes(std::span(line)), on_step);
    return to_message(checksum, tokens);
  }

  /// From here on the folder is a store.
  void write_manifest(const Manifest& manifest) const {
    const std::string text = to_json(manifest);
    if (read_whole(pipeline.out / kManifestName) != text) {
      state::sync_folder(pipeline.out);
      write_whole(pipeline.out / kManifestName, std::as_bytes(std::span(text)), on_step);
      state::sync_folder(pipeline.out);
    }
    std::set<std::string> wanted = {kManifestName};
    for (const ShardPlan::Shard& shard : plan.shards()) wanted.insert(shard.stem + ".tokens");
    std::error_code ignored;  // what stays behind does no harm
    for (const auto& entry : fs::directory_iterator(pipeline.out, ignored)) {
      const std::string name = entry.path().filename().string();
      if (wanted.contains(name)) continue;
      on_step("remove " + name);
      fs::remove(entry.path(), ignored);
    }
  }
};

/// The checksum of each shard that was finished before, "" for the others: from the manifest of a finished
/// store, or else from the .sum files.
std::vector<std::string> known_checksums(const Build& build) {
  const fs::path& out = build.pipeline.out;
  std::vector<std::string> checksums;
  std::error_code ignored;
  if (fs::exists(out / kManifestName, ignored)) {
    const Manifest manifest = load_manifest(out);
    if (manifest.input != build.plan.input()) {
      throw InputError(cat(out.string(), " - holds a store of other input or settings: got ", manifest.input,
                           ", want ", build.plan.input(), "; delete it, or name another --out"));
    }
    for (Split split : kSplits) {
      for (const Manifest::Shard& shard : manifest[split].shards) checksums.push_back(shard.checksum);
    }
  } else {
    for (const ShardPlan::Shard& shard : build.plan.shards()) {
      const std::vector<std::string> words = split(read_whole(build.path(shard, ".sum")), ' ');
      const bool is_ours = words.size() == 2 && words[0] == build.plan.input() && words[1].ends_with('\n');
      checksums.push_back(is_ours ? words[1].substr(0, words[1].size() - 1) : "");
    }
  }
  return checksums;
}

Manifest make_manifest(const Pipeline& pipeline, const ShardPlan& plan,
                       const std::vector<std::string>& messages) {
  Manifest manifest{.shard_tokens = pipeline.shard_tokens, .input = plan.input(), .splits = {}};
  for (Split split : kSplits) {
    std::vector<int64_t> counts(kByteVocabulary);
    manifest[split].documents = plan.num_documents(split);
    manifest[split].tokens = plan.num_tokens(split);
    for (size_t i = 0; i < messages.size(); ++i) {
      const ShardPlan::Shard& shard = plan.shards()[i];
      if (shard.split != split) continue;
      const Finished finished = from_message(messages[i]);
      manifest[split].shards.push_back({shard.stem + ".tokens", shard.tokens.size(), finished.checksum});
      for (size_t token = 0; token < counts.size(); ++token) counts[token] += finished.counts[token];
    }
    manifest[split].unigram_entropy = unigram_entropy(counts);
  }
  return manifest;
}

}  // namespace

BuildReport build_store(comm::Group& comm, const Pipeline& pipeline, const OnProgress& on_progress) {
  const auto progress_of = [&](Progress::Phase phase) {
    return [&, phase](int64_t done, int64_t total) {
      if (comm.rank() == 0) on_progress({phase, done, total});
    };
  };
  if (comm.rank() == 0) check_folder(pipeline.out);
  comm.barrier();
  const Documents documents = find_documents(comm, pipeline, progress_of(Progress::Phase::kReading));
  const ShardPlan plan(documents.list, pipeline.validation_every, pipeline.shard_tokens);
  const auto lock = claim(comm, pipeline.out);
  const Build build{pipeline, plan, [&](const std::string& step) { comm.communicator().set_activity("data: " + step); }};

  // Rank 0 alone looks, so that all agree whatever they would have seen.
  std::vector<std::string> known =
      split(share_text(comm, 0, comm.rank() == 0 ? join(known_checksums(build), "\n") : ""), '\n');
  known.resize(plan.shards().size());

  std::vector<std::string> messages(plan.shards().size());  // "" where a shard is not finished
  const auto work_on = [&](const std::vector<size_t>& items, Progress::Phase phase, const auto& work) {
    std::vector<int64_t> bytes_before = {0};
    for (size_t item : items) bytes_before.push_back(bytes_before.back() + plan.shards()[item].tokens.size());
    const auto results = in_rounds(
        comm, static_cast<int64_t>(items.size()),
        [&](int64_t i) { return work(items[static_cast<size_t>(i)]); },
        [&](int64_t done) {
          progress_of(phase)(bytes_before[static_cast<size_t>(done)], bytes_before.back());
        });
    for (size_t i = 0; i < items.size(); ++i) messages[items[i]] = results[i];
  };
  std::vector<size_t> promised, missing;
  for (size_t i = 0; i < known.size(); ++i) {
    if (!known[i].empty()) promised.push_back(i);
  }
  work_on(promised, Progress::Phase::kChecking,
          [&](size_t i) { return build.check_shard(plan.shards()[i], known[i]); });
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].empty()) missing.push_back(i);
  }
  work_on(missing, Progress::Phase::kWriting, [&](size_t i) { return build.write_shard(plan.shards()[i]); });

  const Manifest manifest = make_manifest(pipeline, plan, messages);
  if (comm.rank() == 0) build.write_manifest(manifest);
  comm.barrier();
  const int64_t num_written = static_cast<int64_t>(missing.size());
  return {manifest, documents.skipped, static_cast<int64_t>(messages.size()) - num_written, num_written};
}

}  // namespace shoal::data
