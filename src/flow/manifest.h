// manifest.json of a flow's output: what the files are, how each step counted; and looking at such a folder
// (docs/data_engine.md).
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "flow/files.h"
#include "flow/writers.h"
#include "shoal/flow.h"

namespace shoal::flow {

inline constexpr const char* kManifestName = "manifest.json";

struct OutputManifest {
  std::string identity, format;
  std::vector<std::pair<std::string, std::string>> columns;  // name, type
  FlowReport report;
  std::vector<FileRecord> files;  // of rows, in order; then those of bad records
};

/// Ends with its own checksum.
std::string to_json(const OutputManifest&);
/// Throws InputError naming the file when it is not there, not whole, or none of flow's.
OutputManifest load_output(const std::filesystem::path& folder);
/// Whether the folder has a manifest of flow's. Folders may be of S3: s3://BUCKET/PREFIX.
bool is_output(const std::filesystem::path& folder);

/// Compares every file with its checksum. Throws InputError naming the first that is not as it was written,
/// or is not of the output.
OutputManifest verify_output(const std::filesystem::path& folder);

/// Columns, counts, sizes and the first rows as text; of a flow's output, or of any file or folder that flow
/// reads.
std::string show(const std::filesystem::path&, int64_t num_rows = 5);

/// The counts as a page: what each step took, gave and dropped.
std::string report_page(const OutputManifest&);

}  // namespace shoal::flow
