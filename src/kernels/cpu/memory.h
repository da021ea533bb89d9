// LibTorch's CPU allocator, with a place in front of it where a hook can serve, and regions of memory beside it.
#pragma once

#include "kernels/device.h"

namespace shoal::kernels {

// What Device promises under the names serve, allocate, lend, reserve and give_back.
AllocationHook* serve_allocations(AllocationHook* hook);
c10::DataPtr allocate_usual(size_t bytes);
c10::DataPtr lend_memory(void* data);
std::byte* reserve_region(size_t bytes) noexcept;
void give_region_back(std::byte* region, size_t bytes) noexcept;

}  // namespace shoal::kernels
