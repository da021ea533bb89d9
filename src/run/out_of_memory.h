// Whether an error says that the system gives no more memory.
#pragma once

#include <exception>
#include <new>
#include <string_view>

namespace shoal::run {

inline bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  // LibTorch's allocator says so in words alone.
  return std::string_view(error.what()).find("can't allocate memory") != std::string_view::npos;
}

}  // namespace shoal::run
