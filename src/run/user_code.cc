#include "run/user_code.h"

#include <exception>

#include "base/fault.h"
#include "base/text.h"
#include "comm/failure.h"
#include "run/out_of_memory.h"
#include "shoal/error.h"

namespace shoal::run {

std::string place_of(const comm::Communicator& communicator) {
  const std::string activity = communicator.activity();
  return communicator.size() == 1 ? activity : comm::rank_place(communicator.rank(), activity);
}

void rethrow_with_place(const comm::Communicator& communicator) {
  const std::string place = place_of(communicator);
  const auto sentence = [&](const std::string& reason) {
    return place.empty() || reason.starts_with(place) ? reason : cat(place, " - ", reason);
  };
  try {
    throw;
  } catch (const Error& error) {
    if (error.exit_code() == 2) std::throw_with_nested(InputError(sentence(error.what())));
    std::throw_with_nested(JobError(sentence(error.what())));
  } catch (const std::exception& error) {
    if (is_out_of_memory(error))
      std::throw_with_nested(JobError(sentence(
          "memory: the system gives this device no more; use more devices, or smaller microbatches")));
    std::throw_with_nested(JobError(sentence(describe_exception())));
  } catch (...) {
    std::throw_with_nested(JobError(sentence(describe_exception())));
  }
}

}  // namespace shoal::run
