#include "state/tensor_spec.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/text.h"
#include "state/safetensors.h"

namespace shoal::state {

namespace {

constexpr int64_t kMaxTensorBytes = int64_t{1} << 60;  // so that sums of sizes cannot overflow

bool legal_word(const std::string& word) {
  return !word.empty() && word != "__metadata__" && word.find_first_of("@[") == std::string::npos;
}

/// "got ..., want ..." for one tensor by itself.
std::optional<std::string> find_flaw(const TensorSpec& spec) {
  if (!legal_word(spec.name) || !legal_word(spec.role)) return "want a name and a role without @ and [";
  int64_t bytes = element_bytes(spec.dtype);
  if (bytes == 0) return cat("dtype: got ", spec.dtype, ", want a safetensors dtype such as F32");
  for (int64_t size : spec.shape) {
    if (size < 0 || (size > 0 && bytes > kMaxTensorBytes / size))
      return cat("shape: got [", join(spec.shape, ", "), "], want sizes >= 0 of fewer than 2^60 bytes");
    bytes *= std::max<int64_t>(size, 1);
  }
  if (!spec.division) return std::nullopt;
  const auto [part, parts, dim, outer] = *spec.division;
  if (parts < 2 || part < 0 || part >= parts)
    return cat("division: got part ", part, " of ", parts, ", want one of 2 or more");
  if (dim < 0 || dim >= std::ssize(spec.shape))
    return cat("division: got dim ", dim, ", want one of the ", spec.shape.size());
  const int64_t size = spec.shape[static_cast<size_t>(dim)];
  if (outer < 1 || size % outer != 0 || size / outer % parts != 0)
    return cat("division: got dim ", dim, " of ", size, ", want a multiple of ", outer, " x ", parts);
  return std::nullopt;
}

}  // namespace

std::vector<int64_t> local_shape(const TensorSpec& spec) {
  std::vector<int64_t> shape = spec.shape;
  if (spec.division) shape[static_cast<size_t>(spec.division->dim)] /= spec.division->parts;
  return shape;
}

int64_t num_elements(const TensorSpec& spec) {
  int64_t product = 1;
  for (int64_t size : local_shape(spec)) product *= size;
  return product;
}

int64_t num_bytes(const TensorSpec& spec) { return num_elements(spec) * element_bytes(spec.dtype); }

TensorSpec whole_of(const TensorSpec& spec) { return {spec.name, spec.role, spec.dtype, spec.shape}; }

std::vector<TensorSpec> whole_tensors(std::span<const TensorSpec> tensors) {
  std::vector<TensorSpec> whole;
  std::set<std::pair<std::string, std::string>> seen;
  for (const TensorSpec& spec : tensors)
    if (seen.emplace(spec.name, spec.role).second) whole.push_back(whole_of(spec));
  return whole;
}

std::string title(const TensorSpec& spec) {
  const std::string part =
      spec.division ? cat(", part ", spec.division->part, " of ", spec.division->parts) : "";
  return cat(spec.name, " (", spec.role, part, ")");
}

std::string type_text(const TensorSpec& spec) {
  std::string text = cat(spec.dtype, " [", join(spec.shape, ", "), "]");
  if (spec.division) {
    text += cat(" in ", spec.division->parts, " parts of dim ", spec.division->dim);
    if (spec.division->outer != 1) text += cat(", outer ", spec.division->outer);
  }
  return text;
}

std::string entry_key(const TensorSpec& spec, Range elements) {
  std::string key = spec.name;
  if (spec.role != "weight") key += "@" + spec.role;
  if (spec.division) key += cat("[", spec.division->part, "of", spec.division->parts, "]");
  if (elements.size() != num_elements(spec)) key += cat("[", elements.begin, ":", elements.end, "]");
  return key;
}

std::optional<std::string> find_flaw(std::span<const TensorSpec> tensors) {
  struct Seen {
    const TensorSpec* first;
    std::set<int64_t> parts;  // of one that is not divided: {0}
  };
  std::map<std::pair<std::string, std::string>, Seen> seen;
  for (const TensorSpec& spec : tensors) {
    const std::string place = "tensor " + title(spec) + ": ";
    if (const auto flaw = find_flaw(spec)) return place + *flaw;
    Seen& tensor = seen.try_emplace({spec.name, spec.role}, Seen{&spec, {}}).first->second;
    if ((spec.division || tensor.first->division) && type_text(spec) != type_text(*tensor.first))
      return cat(place, "got ", type_text(spec), ", want ", type_text(*tensor.first), " as in ",
                 title(*tensor.first));
    if (!tensor.parts.insert(spec.division ? spec.division->part : 0).second)
      return place + "got it twice, want it once";
  }
  for (const auto& [key, tensor] : seen) {
    if (!tensor.first->division || std::ssize(tensor.parts) == tensor.first->division->parts) continue;
    TensorSpec missing = *tensor.first;
    missing.division->part = 0;
    while (tensor.parts.contains(missing.division->part)) ++missing.division->part;
    return cat("tensor ", title(missing), ": is not there, want all parts");
  }
  return std::nullopt;
}

}  // namespace shoal::state
