// Runs a Program: a device's weights, its cache, its buffers, and its links to the other devices.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/comm.h"
#include "formats/model_file.h"
#include "infer/program.h"
#include "infer/step.h"

namespace shoal::infer {

/// Belongs to one thread. Bits of its results depend on neither the division of the model, nor on which rows
/// share a step, nor on which pages keys and values lie in.
class Interpreter {
 public:
  /// Packs the rows of weights that the program names. `pages`: of the cache; `positions`: that a sequence
  /// may have. Throws InputError where the file lacks a weight, or has it in another shape.
  Interpreter(const Program&, std::shared_ptr<const formats::ModelFile>, const StepLimits&, int64_t pages,
              int64_t positions, comm::Communicator&);
  ~Interpreter();

  /// `logits` [step.num_logits, vocabulary], `states` [the other results, width]: of the last stage; every
  /// device writes its own columns. Throws JobError where another device has failed.
  void run(const StepView& step, float* logits, float* states);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Bytes of the cache that one token takes on the device that keeps most.
int64_t cache_bytes_per_token(const formats::ModelFile&, int64_t tp, int64_t pp);

}  // namespace shoal::infer
