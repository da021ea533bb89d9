#include "data/token_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/hash.h"
#include "base/text.h"
#include "data/files.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
constexpr const char* kRepair = "run shoal data again to repair the store";

std::string cause() { return std::generic_category().message(errno); }
}  // namespace

TokenStore::Mapping::~Mapping() {
  if (!bytes.empty()) ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
}

TokenStore::TokenStore(const std::filesystem::path& folder)
    : folder_(folder), manifest_(load_manifest(folder)) {
  for (Split split : kSplits) {
    auto& mappings = mappings_[static_cast<size_t>(split)];
    mappings = std::vector<Mapping>(manifest_[split].shards.size());
    for (size_t i = 0; i < mappings.size(); ++i) map(split, i, mappings[i]);
  }
}

void TokenStore::map(Split split, size_t index, Mapping& mapping) const {
  const Manifest::Shard& shard = manifest_[split].shards[index];
  const std::string path = (folder_ / shard.file).string();
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  if (file < 0 || ::fstat(file, &status) != 0)
    throw InputError(cat(path, " - cannot be read: ", cause(), "; ", kRepair));
  const int64_t want = shard.tokens * static_cast<int64_t>(sizeof(uint16_t));
  if (status.st_size != want)
    throw InputError(
        cat(path, " - cut off or grown: got ", status.st_size, " bytes, want ", want, "; ", kRepair));
  void* address = ::mmap(nullptr, static_cast<size_t>(want), PROT_READ, MAP_SHARED, file, 0);
  if (address == MAP_FAILED) throw JobError(cat(path, " - cannot be mapped: ", cause()));
  mapping.bytes = {static_cast<const std::byte*>(address), static_cast<size_t>(want)};
}

std::span<const uint16_t> TokenStore::shard(Split split, size_t index) const {
  const Mapping& mapping = mappings_[static_cast<size_t>(split)][index];
  if (!mapping.is_verified.load(std::memory_order_relaxed)) {
    const Manifest::Shard& shard = manifest_[split].shards[index];
    const std::string checksum = hash_hex(mapping.bytes);
    if (checksum != shard.checksum) {
      throw InputError(cat((folder_ / shard.file).string(), " - damaged: got checksum ", checksum, ", want ",
                           shard.checksum, "; ", kRepair));
    }
    mapping.is_verified.store(true, std::memory_order_relaxed);
  }
  return {reinterpret_cast<const uint16_t*>(mapping.bytes.data()), mapping.bytes.size() / sizeof(uint16_t)};
}

void TokenStore::tokens(Split split, int64_t begin, std::span<int64_t> out) const {
  while (!out.empty()) {
    const auto from = shard(split, static_cast<size_t>(begin / manifest_.shard_tokens))
                          .subspan(static_cast<size_t>(begin % manifest_.shard_tokens));
    const size_t count = std::min(from.size(), out.size());
    std::copy_n(from.begin(), count, out.begin());
    out = out.subspan(count);
    begin += static_cast<int64_t>(count);
  }
}

void TokenStore::verify() const {
  for (Split split : kSplits) {
    for (size_t i = 0; i < manifest_[split].shards.size(); ++i) shard(split, i);
  }
}

}  // namespace shoal::data
