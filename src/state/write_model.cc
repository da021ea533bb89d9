// `shoal checkpoint convert`: the model alone, in the form that other tools know.
#include <algorithm>
#include <set>
#include <vector>

#include "base/text.h"
#include "state/checkpoint.h"
#include "state/durable.h"
#include "state/safetensors.h"

namespace shoal::state {

namespace fs = std::filesystem;

void write_model(const Checkpoint& checkpoint, const fs::path& out) {
  WholeFile file(out);
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

  const std::string header = safetensors_header(entries);
  file.write(std::as_bytes(std::span(header)));
  std::vector<std::byte> bytes;
  for (const TensorSpec& spec : tensors) {
    bytes.resize(static_cast<size_t>(num_bytes(spec)));
    checkpoint.read_whole(spec, bytes);
    file.write(bytes);
  }
  file.finish();
}

}  // namespace shoal::state
