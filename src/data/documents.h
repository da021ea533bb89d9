// The first pass over the input: which files are documents, in which order, and what is in them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/group.h"
#include "data/files.h"
#include "data/pipeline.h"

namespace shoal::data {

struct Document {
  std::string path;
  InputFile::State state;
  std::string digest;  // of its content
};

/// Files that are no documents, by reason.
struct Skipped {
  int64_t empty = 0;
  int64_t not_text = 0;    // a NUL byte
  int64_t too_large = 0;   // above max_file_bytes
  int64_t over_limit = 0;  // after max_bytes was reached
};

struct Documents {
  std::vector<Document> list;  // in input order (docs/token_store.md)
  Skipped skipped;
};

/// Collective; the same on every rank. Rank 0 lists the files, then all read them, divided by position. Every
/// byte is read once here, to find text and to know the content again; the second pass (build_store) reads it
/// once more. Throws InputError when an input is missing or unreadable, or when there is no document.
Documents find_documents(comm::Group&, const Pipeline&,
                         const std::function<void(int64_t bytes_done, int64_t bytes_total)>& progress);

}  // namespace shoal::data
