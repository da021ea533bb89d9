#include <charconv>

#include "base/text.h"
#include "comm/launch.h"
#include "infer/engine.h"
#include "shoal/error.h"

namespace shoal::infer {

void set_layout(EngineOptions& options, const std::string& layout, const std::string& place) {
  options.tp = options.pp = options.dp = 1;
  if (layout.empty()) return;
  for (const std::string& part : split(layout, ',')) {
    const size_t equals = part.find('=');
    const std::string axis = part.substr(0, equals),
                      number = equals == std::string::npos ? "" : part.substr(equals + 1);
    int64_t* const size = axis == "tp"   ? &options.tp
                          : axis == "pp" ? &options.pp
                          : axis == "dp" ? &options.dp
                                         : nullptr;
    int64_t value = 0;
    const char* const end = number.data() + number.size();
    if (!size || number.empty() || std::from_chars(number.data(), end, value).ptr != end || value < 1 ||
        value > comm::kMaxDevices)
      throw InputError(cat(place, " - got \"", part,
                           "\", want tp=N, pp=N or dp=N, as tp=2,dp=2; N from 1 to ", comm::kMaxDevices));
    *size = value;
  }
}

}  // namespace shoal::infer
