// `shoal checkpoint convert`: the model alone, in the form that other tools know.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <system_error>
#include <vector>

#include "base/text.h"
#include "state/checkpoint.h"
#include "state/durable.h"
#include "state/safetensors.h"

namespace shoal::state {

namespace fs = std::filesystem;

void write_model(const Checkpoint& checkpoint, const fs::path& out) {
  std::error_code error;
  const bool is_there = fs::exists(fs::symlink_status(out, error));
  if (error && error != std::errc::no_such_file_or_directory)
    throw InputError(cat(out.string(), " - cannot be written: ", error.message(), "; choose another name"));
  if (is_there) throw InputError(cat(out.string(), " - is there already; remove it or choose another name"));

  std::vector<TensorSpec> tensors = whole_tensors(checkpoint.contents().tensors);
  std::erase_if(tensors,
                [](const TensorSpec& spec) { return spec.role != "weight" && spec.role != "buffer"; });
  std::ranges::stable_sort(tensors, std::greater(),
                           [](const TensorSpec& spec) { return element_bytes(spec.dtype); });
  std::vector<SafetensorsEntry> entries;
  std::set<std::string> names;
  for (const TensorSpec& spec : tensors) {
    if (!names.insert(spec.name).second)
      throw InputError(cat(checkpoint.folder().string(), " - tensor ", spec.name,
                           ": is a weight and a buffer, want one of each name to write them into one file"));
    entries.push_back({spec.name, spec.dtype, spec.shape, num_bytes(spec)});
  }

  const fs::path folder = fs::absolute(out, error).parent_path();
  if (!fs::is_directory(folder, error))
    throw InputError(cat(out.string(), " - cannot be written: there is no folder ", folder.string()));
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw InputError(cat(out.string(), " - cannot be written: ", std::generic_category().message(errno),
                         "; choose another name"));
  const fs::path partial = folder / cat(".", out.filename().string(), ".partial");
  struct ClearAway {
    const fs::path& partial;
    ~ClearAway() {
      std::error_code ignored;
      fs::remove(partial, ignored);
    }
  } clear_away{partial};
  remove_tree(partial);  // of a crash
  OutputFile file(partial);
  const std::string header = safetensors_header(entries);
  file.write(std::as_bytes(std::span(header)));
  std::vector<std::byte> bytes;
  for (const TensorSpec& spec : tensors) {
    bytes.resize(static_cast<size_t>(num_bytes(spec)));
    checkpoint.read_whole(spec, bytes);
    file.write(bytes);
  }
  file.finish();
  rename_path(partial, out);
  sync_folder(folder);
}

}  // namespace shoal::state
