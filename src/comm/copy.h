// Copying what will not be read again soon.
#pragma once

#include <cstddef>

namespace shoal::comm {

/// As memcpy, also of nothing; large copies go past the cache, which saves reading the destination first
/// (docs/comm.md, "Measured").
void copy_bytes(std::byte* to, const std::byte* from, size_t bytes);

}  // namespace shoal::comm
