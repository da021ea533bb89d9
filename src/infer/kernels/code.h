// The functions that every instruction set has its own code for, as a table. Files of an instruction set are
// compiled for it: they may hold nothing that others could link to (templates and inline functions of the
// standard library), so they speak in pointers.
#pragma once

#include <cstdint>

#include "infer/kernels/kernels.h"
#include "infer/kernels/packed.h"

namespace shoal::infer {

struct CacheView;  // attention.h

struct Code {
  void (*matmul)(const PackedMatrix::Impl&, const ActivationRows&, float* y, int64_t stride);
  /// Fills the parts of `out` that the type has; x is [rows, columns] with `stride` between rows.
  void (*activations)(formats::WeightType, const float* x, int64_t stride, const ActivationRows& out);
  void (*rms_norm)(const float* x, const float* weight, double epsilon, int64_t rows, int64_t width,
                   float* y);
  void (*silu_times)(const float* gate, const float* up, int64_t count, float* out);
  void (*gelu)(const float* x, int64_t count, float* out);
  void (*attention)(const CacheView&, const AttentionRows*, int64_t sequences, const float* queries,
                    int64_t query_stride, int64_t heads, int64_t window, float* out, int64_t out_stride);
};

/// Null where this build or this CPU does not have it.
const Code* code_of(InstructionSet);
const Code& code();  // of instruction_set()

extern const Code kScalarCode;
#if defined(__x86_64__)
extern const Code kAvx2Code, kAvx512Code;
#endif

}  // namespace shoal::infer
