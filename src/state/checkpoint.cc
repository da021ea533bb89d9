#include "state/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "base/hash.h"
#include "base/text.h"
#include "state/folder.h"
#include "state/safetensors.h"

namespace shoal::state {

namespace fs = std::filesystem;

namespace {

/// A file that is read at known places. Throws InputError that names it.
class InputFile {
 public:
  explicit InputFile(const fs::path& path)
      : path_(path),
        descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {  // no waiting for a fifo
    if (descriptor_ < 0) throw unreadable(std::generic_category().message(errno));
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  int64_t size() const {
    struct stat status;
    if (::fstat(descriptor_, &status) != 0) throw unreadable(std::generic_category().message(errno));
    return status.st_size;
  }

  void read(int64_t offset, std::span<std::byte> into) const {
    while (!into.empty()) {
      const ssize_t got = ::pread(descriptor_, into.data(), into.size(), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw unreadable(std::generic_category().message(errno));
      if (got == 0) throw unreadable(cat("it ends at byte ", offset));
      offset += got;
      into = into.subspan(static_cast<size_t>(got));
    }
  }

 private:
  InputError unreadable(const std::string& cause) const {
    return InputError(cat(path_.string(), " - cannot be read: ", cause, "; use another checkpoint"));
  }

  fs::path path_;
  int descriptor_;
};

Manifest read_manifest(const fs::path& path) {
  const InputFile file(path);
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return parse_manifest(text, path.string());
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& path)
    : folder_(resolve(path)), manifest_(read_manifest(folder_ / kManifestName)) {
  for (const StoredFile& stored : manifest_.files) {
    const fs::path place = folder_ / stored.name;
    if (const int64_t size = InputFile(place).size(); size != stored.bytes)
      throw InputError(cat(place.string(), " - damaged: got ", size, " bytes, want ", stored.bytes,
                           "; use another checkpoint"));
  }
  for (size_t i = 0; i < contents().tensors.size(); ++i)
    tensors_[{contents().tensors[i].name, contents().tensors[i].role}].push_back(i);
}

InputError Checkpoint::not_what_was_saved(const TensorSpec& want, const std::string& got) const {
  return InputError(cat(folder_.string(), " - tensor ", title(want), ": ", got, ", want ", type_text(want),
                        "; use the model and the optimizer that were saved"));
}

size_t Checkpoint::find(const TensorSpec& want) const {
  std::string got = "not in this checkpoint";
  if (const auto found = tensors_.find({want.name, want.role}); found != tensors_.end())
    for (size_t i : found->second) {
      if (contents().tensors[i] == want) return i;
      got = cat("got ", type_text(contents().tensors[i]));
    }
  throw not_what_was_saved(want, got);
}

/// Calls visit(elements of the block, its bytes) for each block that has any of these elements, once its
/// checksum was found right.
template <class Visit>
void Checkpoint::for_each_block(size_t tensor, Range elements, const Visit& visit) const {
  const TensorSpec& spec = contents().tensors[tensor];
  const StoredTensor& stored = manifest_.stored[tensor];
  const int64_t size = element_bytes(spec.dtype);
  std::vector<std::byte> bytes;
  for (const StoredSlice& slice : stored.slices) {
    const Range part = intersect(slice.elements, elements);
    if (part.empty()) continue;
    const fs::path place = folder_ / manifest_.files[slice.file].name;
    const InputFile file(place);
    for (int64_t block = part.begin / kBlockElements; block * kBlockElements < part.end; ++block) {
      const Range whole = intersect(slice.elements, {block * kBlockElements, (block + 1) * kBlockElements});
      const int64_t offset = slice.offset + (whole.begin - slice.elements.begin) * size;
      bytes.resize(static_cast<size_t>(whole.size() * size));
      file.read(offset, bytes);
      const std::string& want = stored.blocks[static_cast<size_t>(block)];
      if (const std::string got = hash_hex(bytes); got != want)
        throw InputError(cat(place.string(), " - damaged: block ", block, " of ", title(spec), " at byte ",
                             offset, ": got checksum ", got, ", want ", want, "; use another checkpoint"));
      visit(whole, std::span<const std::byte>(bytes));
    }
  }
}

void Checkpoint::read(size_t tensor, Range elements, std::span<std::byte> into) const {
  const TensorSpec& spec = contents().tensors.at(tensor);
  const int64_t size = element_bytes(spec.dtype);
  if (elements.begin > elements.end || !Range{0, num_elements(spec)}.contains(elements) ||
      std::ssize(into) != elements.size() * size)
    throw InputError(cat(folder_.string(), " - tensor ", title(spec), ": got elements [", elements.begin,
                         ", ", elements.end, ") into ", into.size(), " bytes, want a part of ",
                         type_text(spec), " into its size"));
  for_each_block(tensor, elements, [&](Range block, std::span<const std::byte> bytes) {
    const Range part = intersect(block, elements);
    std::memcpy(into.data() + (part.begin - elements.begin) * size,
                bytes.data() + (part.begin - block.begin) * size, static_cast<size_t>(part.size() * size));
  });
}

void Checkpoint::read_whole(const TensorSpec& whole, std::span<std::byte> into) const {
  const int64_t size = element_bytes(whole.dtype);
  if (whole.division || std::ssize(into) != num_bytes(whole))
    throw InputError(cat(folder_.string(), " - tensor ", title(whole), ": got ", into.size(),
                         " bytes to read into, want the size of the whole ", type_text(whole)));
  bool found = false;
  for (size_t i = 0; i < contents().tensors.size(); ++i) {
    const TensorSpec& spec = contents().tensors[i];
    if (spec.name != whole.name || spec.role != whole.role) continue;
    if (whole_of(spec) != whole) throw not_what_was_saved(whole, cat("got ", type_text(whole_of(spec))));
    for_each_block(i, {0, num_elements(spec)}, [&](Range block, std::span<const std::byte> bytes) {
      for_each_run(spec, block, [&](int64_t to, int64_t from, int64_t count) {
        std::memcpy(into.data() + to * size, bytes.data() + (from - block.begin) * size,
                    static_cast<size_t>(count * size));
      });
    });
    found = true;
  }
  if (!found) throw not_what_was_saved(whole, "not in this checkpoint");
}

void Checkpoint::verify() const {
  for (const StoredFile& stored : manifest_.files) {
    const fs::path place = folder_ / stored.name;
    std::vector<std::byte> header(static_cast<size_t>(stored.header_bytes));
    InputFile(place).read(0, header);
    if (const std::string got = hash_hex(header); got != stored.header_checksum)
      throw InputError(cat(place.string(), " - damaged: its header: got checksum ", got, ", want ",
                           stored.header_checksum, "; use another checkpoint"));
  }
  for (size_t i = 0; i < contents().tensors.size(); ++i)
    for_each_block(i, {0, num_elements(contents().tensors[i])}, [](Range, std::span<const std::byte>) {});
}

std::string content_hash(const fs::path& path) { return content_hash(Checkpoint(path).manifest()); }

}  // namespace shoal::state
