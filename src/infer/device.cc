#include "infer/device.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/fault.h"
#include "base/text.h"
#include "comm/shm/communicator.h"
#include "comm/shm/memory.h"
#include "formats/model_file.h"
#include "infer/interpreter.h"
#include "infer/program.h"
#include "shoal/error.h"

namespace shoal::infer {
namespace {

void say(Report::Kind kind, uint32_t slot, const std::string& sentence = "") {
  Report report{};
  report.kind = kind, report.slot = slot;
  std::strncpy(report.sentence, sentence.c_str(), sizeof report.sentence - 1);
  const size_t bytes = offsetof(Report, sentence) + std::strlen(report.sentence) + 1;
  while (::send(kSocket, &report, bytes, MSG_NOSIGNAL) < 0 && errno == EINTR) continue;
}

// The next slot to run, or -1 when the engine has gone.
int64_t next_order() {
  Order order{};
  for (;;) {
    const ssize_t count = recv(kSocket, &order, sizeof order, 0);
    if (count == sizeof order) return order.slot;
    if (count < 0 && errno == EINTR) continue;
    return -1;
  }
}

void serve(const DevicePlace& place) {
  const auto file = formats::open_model(place.model);
  const auto names = file->weight_names();
  const Program program = build_program(file->config(), {names.begin(), names.end()}, place.tp, place.pp,
                                        place.rank, file->place());
  StepMemory steps(place.limits, place.slots, kStepMemory);
  const auto ranks = static_cast<int>(place.tp * place.pp);
  const auto communicator =
      comm::shm_communicator(comm::SharedMemory::attach(kJobMemory, ranks), static_cast<int>(place.rank));
  Interpreter interpreter(program, file, place.limits, place.pages, place.positions, *communicator);
  say(Report::kReady, 0);
  for (int64_t slot; (slot = next_order()) >= 0;) {
    interpreter.run(steps.read(slot), steps.logits(slot), steps.states(slot));
    say(Report::kDone, static_cast<uint32_t>(slot));
  }
}

}  // namespace

std::vector<std::string> DevicePlace::arguments() const {
  std::vector<std::string> all = {model};
  for (const int64_t number : {tp, pp, rank, pages, positions, slots, limits.rows, limits.sequences,
                               limits.pages, limits.logits, limits.vocabulary, limits.width})
    all.push_back(cat(number));
  return all;
}

DevicePlace DevicePlace::parse(const std::vector<std::string>& arguments) {
  DevicePlace place;
  const std::vector<int64_t*> numbers = {&place.tp,
                                         &place.pp,
                                         &place.rank,
                                         &place.pages,
                                         &place.positions,
                                         &place.slots,
                                         &place.limits.rows,
                                         &place.limits.sequences,
                                         &place.limits.pages,
                                         &place.limits.logits,
                                         &place.limits.vocabulary,
                                         &place.limits.width};
  bool understood = arguments.size() == numbers.size() + 1;
  for (size_t i = 0; understood && i < numbers.size(); ++i) {
    const std::string& word = arguments[i + 1];
    understood =
        std::from_chars(word.data(), word.data() + word.size(), *numbers[i]).ptr == word.data() + word.size();
  }
  if (!understood)
    throw InputError(
        "shoal_device - arguments: got others than an engine gives; it is started by shoal alone");
  place.model = arguments[0];
  return place;
}

int run_device(const std::vector<std::string>& arguments) {
  try {
    serve(DevicePlace::parse(arguments));
    return 0;
  } catch (const InputError& error) {
    say(Report::kInputError, 0, error.what());
    return error.exit_code();
  } catch (...) {
    say(Report::kJobError, 0, describe_exception());
    return 1;
  }
}

}  // namespace shoal::infer
