// The sentences for what asks for numbers that are not there yet.
#pragma once

#include <string>

namespace shoal::capture {

/// Throws InputError for an operator whose answer, or whose result's size, depends on numbers.
[[noreturn]] void refuse_data_dependent(const std::string& op);

}  // namespace shoal::capture
