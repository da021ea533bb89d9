// manifest.json: what a checkpoint holds and where each piece lies (docs/checkpoint_format.md).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/blocks.h"
#include "state/tensor_spec.h"

namespace shoal::state {

/// What a checkpoint is about, apart from the bytes. Nothing in it depends on the layout.
struct Contents {
  nlohmann::json run;   // the run definition; opaque here
  int64_t step = 0;     // optimizer steps done
  int64_t samples = 0;  // position in the data: samples consumed
  std::vector<TensorSpec> tensors;
};

/// A run of whole blocks of one tensor (or part) in one file.
struct StoredSlice {
  Range elements;
  size_t file = 0;     // index into Manifest::files
  int64_t offset = 0;  // bytes from the start of that file
};

struct StoredTensor {
  std::vector<std::string> blocks;  // a checksum each
  std::vector<StoredSlice> slices;  // in order
};

struct StoredFile {
  std::string name;
  int64_t bytes = 0;
  int64_t header_bytes = 0;
  std::string header_checksum;
};

struct Manifest {
  Contents contents;
  std::vector<StoredTensor> stored;  // one for each of contents.tensors
  std::vector<StoredFile> files;
};

/// What makes these contents impossible to save or to believe ("tensor w (weight): ..."), or nothing.
std::optional<std::string> find_flaw(const Contents&);
/// The same for the slices and files: every tensor covered once, by whole blocks, inside the files; the files
/// all used up. REQUIRES: the contents have no flaw.
std::optional<std::string> find_flaw(const Manifest&);

/// The text of manifest.json; one tensor a line.
std::string manifest_text(const Manifest&);

/// Reads it back, and checks all that can be checked without the files. `place` is what messages call it.
/// Throws InputError.
Manifest parse_manifest(const std::string& text, const std::string& place);

/// One hash of everything but the slices and files. The division into parts is in it.
std::string content_hash(const Manifest&);

}  // namespace shoal::state
