// `shoal checkpoint show`: what a person wants to know about a checkpoint, as aligned text.
#include <algorithm>
#include <map>
#include <vector>

#include "base/text.h"
#include "state/checkpoint.h"

namespace shoal::state {

namespace {

using Rows = std::vector<std::vector<std::string>>;

/// Columns padded to their widest cell, two spaces before each.
std::string aligned(const Rows& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += "  " + row[i];
      if (i + 1 < row.size()) text.append(widths[i] - row[i].size(), ' ');
    }
    text += '\n';
  }
  return text;
}

/// The run's facts, one a line: "optimizer.lr  0.0003".
void flatten(const nlohmann::json& value, const std::string& name, Rows& rows) {
  if (!value.is_object() || value.empty())
    return rows.push_back({name, value.is_string() ? value.get<std::string>() : value.dump()});
  for (const auto& [key, inner] : value.items()) flatten(inner, name.empty() ? key : name + "." + key, rows);
}

std::string counted(size_t count, const std::string& word) {
  return cat(count, " ", word, count == 1 ? "" : "s");
}

}  // namespace

std::string describe(const Checkpoint& checkpoint) {
  const Manifest& manifest = checkpoint.manifest();
  const Contents& contents = manifest.contents;

  struct Total {
    size_t tensors = 0;
    int64_t bytes = 0;
  };
  std::map<std::string, Total> roles;
  Rows tensors;
  int64_t all_bytes = 0;
  size_t num_tensors = 0;
  for (const TensorSpec& spec : contents.tensors) {
    const int64_t bytes = num_bytes(spec);
    if (!spec.division || spec.division->part == 0) {  // one line for all parts
      tensors.push_back({spec.name, spec.role, type_text(spec),
                         human_bytes(static_cast<uint64_t>(num_bytes(whole_of(spec))))});
      roles[spec.role].tensors += 1;
      num_tensors += 1;
    }
    roles[spec.role].bytes += bytes;
    all_bytes += bytes;
  }
  Rows by_role, files, run;
  for (const auto& [role, total] : roles)
    by_role.push_back(
        {role, counted(total.tensors, "tensor"), human_bytes(static_cast<uint64_t>(total.bytes))});
  for (const StoredFile& file : manifest.files)
    files.push_back({file.name, human_bytes(static_cast<uint64_t>(file.bytes))});
  flatten(contents.run, "", run);

  return cat(checkpoint.folder().string(), ": step ", contents.step, ", ", contents.samples, " samples\n",
             "content hash ", content_hash(manifest), "\n\nrun\n", aligned(run), "\ntensors\n",
             aligned(tensors), "\n", counted(num_tensors, "tensor"), ", ",
             human_bytes(static_cast<uint64_t>(all_bytes)), "\n", aligned(by_role), "\n",
             counted(files.size(), "file"), "\n", aligned(files));
}

}  // namespace shoal::state
