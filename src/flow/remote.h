// Objects of S3, as s3://BUCKET/KEY, through Arrow's file system for it (arrow.apache.org/docs/cpp/io.html).
// Its library is loaded at the first such path. Keys, region and endpoint are the environment's, as for AWS's
// own tools: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL. Any thread.
#pragma once

#include <arrow/io/interfaces.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shoal::flow {

bool is_remote(const std::string& path);
/// Throws InputError where the path names no bucket, or has keys in it, which nobody repeats.
void check_remote(const std::string& path);
/// "BUCKET/KEY", without slashes at its end.
std::string remote_name(const std::string& path);

/// The objects that a path names: one, those of a folder that are no one's notes (list_files.cc), or those
/// that match * and [] in the last part; by path. Throws InputError.
std::vector<std::string> list_remote(const std::string& path, const std::string& place);
/// All objects of a folder, named within it; none where nothing is. Throws InputError, also where there is no
/// such bucket.
std::vector<std::string> remote_files(const std::string& folder);
/// The size of an object; nothing where there is none. Throws InputError.
std::optional<int64_t> remote_bytes(const std::string& path);

/// Throws InputError.
std::shared_ptr<arrow::io::RandomAccessFile> read_remote(const std::string& path);
/// The object is there, whole, once the stream is closed; who wants none of it aborts the stream. Throws
/// JobError.
std::shared_ptr<arrow::io::OutputStream> write_remote(const std::string& path);

}  // namespace shoal::flow
