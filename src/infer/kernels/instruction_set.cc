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
    case InstructionSet::kAvx2:
    case InstructionSet::kAvx512:
      return nullptr;
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
