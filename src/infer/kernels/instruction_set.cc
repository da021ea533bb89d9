// Which code runs.
#include <cstdlib>
#include <string>

#include "infer/kernels/code.h"
#include "shoal/error.h"

namespace shoal::infer {

const Code* code_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::kScalar:
      return &kScalarCode;
#if defined(__x86_64__)
    case InstructionSet::kAvx2: {
      static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
      return has ? &kAvx2Code : nullptr;
    }
    case InstructionSet::kAvx512: {
      static const bool has = code_of(InstructionSet::kAvx2) != nullptr && __builtin_cpu_supports("avx512f") &&
                              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
      return has ? &kAvx512Code : nullptr;
    }
#else
    case InstructionSet::kAvx2:
    case InstructionSet::kAvx512:
      return nullptr;
#endif
  }
  return nullptr;
}

InstructionSet instruction_set() {
  static const InstructionSet chosen = [] {
    InstructionSet best = InstructionSet::kScalar;
    for (const auto set : {InstructionSet::kAvx2, InstructionSet::kAvx512}) {
      if (code_of(set) != nullptr) best = set;
    }
    const char* const wanted = std::getenv("SHOAL_INSTRUCTION_SET");
    if (wanted == nullptr || *wanted == '\0') return best;
    const std::string name = wanted;
    const auto set =
        name == "scalar" ? InstructionSet::kScalar
        : name == "avx2" ? InstructionSet::kAvx2
        : name == "avx512"
            ? InstructionSet::kAvx512
            : throw InputError("SHOAL_INSTRUCTION_SET: got \"" + name + "\", want scalar, avx2 or avx512");
    if (code_of(set) == nullptr) {
      throw InputError("SHOAL_INSTRUCTION_SET: got \"" + name +
                       "\", which this CPU does not have; leave it unset");
    }
    return set;
  }();
  return chosen;
}

const Code& code() {
  static const Code& chosen = *code_of(instruction_set());
  return chosen;
}

}  // namespace shoal::infer
