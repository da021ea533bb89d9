#include "base/fault.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <typeinfo>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal {
namespace {

std::string name_of(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free);
  return status == 0 ? name.get() : type.name();
}

}  // namespace

std::string describe_exception() {
  try {
    throw;
  } catch (const Error& error) {
    return error.what();
  } catch (const BrokenInvariant& error) {
    return cat("internal error: ", error.what());
  } catch (const std::exception& error) {
    const std::string reason = error.what();
    return cat(name_of(typeid(error)), ": ", reason.substr(0, reason.find('\n')));
  } catch (...) {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    return cat("an exception of type ", type ? name_of(*type) : "unknown");
  }
}

}  // namespace shoal
