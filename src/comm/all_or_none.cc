#include "comm/all_or_none.h"

#include "base/text.h"
#include "comm/collectives.h"
#include "shoal/error.h"

namespace shoal::comm {
namespace {

// The first character of what a member tells the others.
constexpr char kDone = '+', kInputError = 'i', kJobError = 'j';

}  // namespace

std::vector<std::string> all_or_none(Group& group, const std::function<std::string()>& work) {
  std::string mine;
  try {
    mine = kDone + work();
  } catch (const InputError& error) {
    mine = cat(kInputError, error.what());
  } catch (const Error& error) {
    mine = cat(kJobError, error.what());
  } catch (const std::exception& error) {
    mine = cat(kJobError, "rank ", group.communicator().rank(), " - ", error.what());
  }
  std::vector<std::string> results = all_gather_texts(group, mine);
  for (std::string& result : results) {
    const char how = result.at(0);
    result.erase(0, 1);
    if (how == kInputError) throw InputError(result);
    if (how == kJobError) throw JobError(result);
  }
  return results;
}

}  // namespace shoal::comm
