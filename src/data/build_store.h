// Text files to a token store, on any number of devices: the same bytes for all of them, and after any number
// of kills.
#pragma once

#include <functional>

#include "comm/group.h"
#include "data/documents.h"
#include "data/manifest.h"
#include "data/pipeline.h"

namespace shoal::data {

struct Progress {
  enum class Phase {
    kReading,
    kChecking,
    kWriting
  };  // find documents, check what a killed run left, write the rest
  Phase phase;
  int64_t bytes_done;
  int64_t bytes_total;  // of text
};
using OnProgress = std::function<void(const Progress&)>;

struct BuildReport {
  Manifest manifest;
  Skipped skipped;
  int64_t shards_kept = 0;  // found finished, with the right checksum
  int64_t shards_written = 0;
};

/// Collective; returns the same on every rank. `on_progress` is called on rank 0 alone, between pieces of
/// work. Memory: the list of files on every rank, and one shard. Input is read twice: to find the documents,
/// and to write them. The communicator's activity names each change to the folder before it is made. Throws
/// InputError, before anything is written, when there is no text, when `out` holds anything that is not a
/// token store or a store of other input, or when another build is at work there; JobError when an input
/// changes on the way or the disk is full.
BuildReport build_store(comm::Group&, const Pipeline&, const OnProgress& on_progress);

}  // namespace shoal::data
