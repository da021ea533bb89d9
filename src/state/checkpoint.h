// Checkpoints: the whole state of a run in a folder, written by any number of ranks and read by any other
// number (docs/checkpoint_format.md). A crash at any instant leaves the checkpoints that were there.
//
// Errors: what cannot be read is an InputError that names the file (and the tensor and block); what cannot be
// written is a JobError on every rank.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/blocks.h"
#include "comm/group.h"
#include "shoal/error.h"
#include "state/manifest.h"

namespace shoal::state {

/// What one rank gives to save: whole blocks of Contents::tensors[tensor] (or up to its end; of a divided
/// tensor that is one part), where they lie in memory.
struct Slice {
  size_t tensor;
  Range elements;
  std::span<const std::byte> bytes;
};

/// Collective. All ranks give equal contents and their own slices, which together are every tensor once. The
/// bytes go to the disk straight from the spans. `folder` appears whole, replacing what had its name, or not
/// at all; if it is called step-<n>, `latest` beside it then points to it. Throws JobError on every rank when
/// any rank fails; the checkpoints that were there are then still there.
void save(comm::Group&, const std::filesystem::path& folder, const Contents&,
          std::span<const Slice> mine);

/// A checkpoint to read from. Safe to use from several threads at once.
class Checkpoint {
 public:
  /// Opens a checkpoint's folder, a link to one, or the latest one in a folder of checkpoints. Reads the
  /// manifest and the files' sizes, not the tensors.
  explicit Checkpoint(const std::filesystem::path&);

  const std::filesystem::path& folder() const { return folder_; }
  const Contents& contents() const { return manifest_.contents; }
  const Manifest& manifest() const { return manifest_; }

  /// The index of the tensor (or part) with this name and role. Throws InputError when it is not there or has
  /// another dtype, shape or division.
  size_t find(const TensorSpec&) const;

  /// These elements of a tensor, whatever slices they lie in. Reads only the blocks they touch, and checks
  /// each. REQUIRES: into has exactly their bytes. On an error some of `into` may have been written.
  void read(size_t tensor, Range elements, std::span<std::byte> into) const;

  /// A whole tensor, composed of its parts where it is divided; it takes no memory but `into`. Throws
  /// InputError when it is not there or has another dtype or shape. REQUIRES: whole has no division; into has
  /// exactly its bytes. On an error some of `into` may have been written.
  void read_whole(const TensorSpec& whole, std::span<std::byte> into) const;

  /// Reads every byte of every file. Throws InputError at the first that is not what was saved.
  void verify() const;

 private:
  InputError not_what_was_saved(const TensorSpec& want, const std::string& got) const;
  template <class Visit>
  void for_each_block(size_t tensor, Range elements, const Visit&) const;

  std::filesystem::path folder_;
  Manifest manifest_;
  std::map<std::pair<std::string, std::string>, std::vector<size_t>> tensors_;  // by name and role
};

/// One hash of step, data position, run definition and every bit of the tensors, as the manifest states it:
/// the same however the state was divided.
std::string content_hash(const std::filesystem::path&);

/// A page of text about a checkpoint: step, run, tensors, bytes by role, files.
std::string describe(const Checkpoint&);

/// Writes the model (weights and buffers) as one safetensors file of whole tensors under their own names,
/// which other tools open. Holds one tensor in memory at a time. `out` appears whole or not at all. Throws
/// InputError when it is there already, or a weight and a buffer have one name; JobError when it cannot be
/// written.
void write_model(const Checkpoint&, const std::filesystem::path& out);

/// The checkpoint to go on from in a folder of checkpoints: what `latest` points to, or else the one with the
/// highest step (`latest` itself, where a copy made it a folder of a higher one); nothing if there is none.
std::optional<std::filesystem::path> latest(const std::filesystem::path& checkpoints);

/// The checkpoint that `latest` points to, or without a link the highest step-<n>, if it has lost its
/// manifest; nothing if it has not.
std::optional<std::filesystem::path> latest_without_manifest(const std::filesystem::path& checkpoints);

/// The highest step-<n> in a folder of checkpoints of which every byte is as it was saved; nothing if there
/// is none. Reads them, from the newest on, to the end.
std::optional<std::filesystem::path> newest_whole(const std::filesystem::path& checkpoints);

/// Removes the oldest step-<n> until `keep` are left, never one that `latest` points to, and what crashes
/// left behind. REQUIRES: keep >= 1, and that nobody saves there now. Throws JobError.
void prune(const std::filesystem::path& checkpoints, int keep);

}  // namespace shoal::state
