#include <array>

#include "formats/model_file.h"

namespace shoal::formats {

const WeightTypeInfo& info(WeightType type) {
  static constexpr std::array<WeightTypeInfo, 8> kTypes = {{{"F32", 1, 4},
                                                            {"F16", 1, 2},
                                                            {"BF16", 1, 2},
                                                            {"Q8_0", 32, 34},
                                                            {"Q4_0", 32, 18},
                                                            {"Q4_1", 32, 20},
                                                            {"Q4_K", 256, 144},
                                                            {"Q6_K", 256, 210}}};
  return kTypes[static_cast<size_t>(type)];
}

int64_t Weight::row_bytes() const { return columns / info(type).block_elements * info(type).block_bytes; }

}  // namespace shoal::formats
