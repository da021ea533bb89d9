// What one device does in a step of inference, as data: it prints, parses back, is checked, and is run
// (interpreter.h). Made from the model's shape and the layout alone.
//
// Division within a layer (tp) is by rows of outputs: each device computes some elements of each product
// whole, in the order that one device would, and what the next product reads whole is gathered first. No sum
// is ever divided, so no bit depends on tp (docs/inference.md). Stages (pp) are runs of layers.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/blocks.h"
#include "formats/model_file.h"

namespace shoal::infer {

enum class Op : uint8_t {
  kEmbed,      // out = rows of the table `weight`, by token
  kPosition,   // out = in + rows of `weight`, by position
  kRmsNorm,    // out = norm(in) * weight; of each head alone where heads > 0
  kLayerNorm,  // out = norm(in) * weight + bias
  kMatmul,     // out = in x rows `ranges[0]` of `weight`
  kBias,       // out += elements ranges[0] of `weight`
  kRope,       // out's `heads` turn, by position
  kStore,      // in[0], in[1]: keys and values of `layer` go to their places
  kAttention,  // out = attention of queries in, over the cache of `layer`, `heads` query heads
  kGather,     // out = everyone's in, side by side: member m's are columns ranges[m]
  kAdd,        // out = in[0] + in[1]
  kSiluTimes,  // out = silu(in[0]) * in[1]
  kGelu,       // out = gelu(in)
  kSend,       // in goes to rank `peer`
  kRecv,       // out comes from rank `peer`
  kTake,       // out = the rows of in that results are wanted of
  kLogits,     // in x rows ranges[0] of `weight` become these columns of the step's logits
  kStates      // in becomes the step's states
};

struct Instruction {
  Op op = Op::kEmbed;
  std::string output;  // a buffer; "" where there is none
  std::vector<std::string> inputs;
  std::string weight, bias;  // names in the model file
  std::vector<Range> ranges;
  int64_t layer = -1, heads = 0, peer = -1;
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

/// [rows of the step, width] of fp32; with `of_results`, only rows that results are wanted of.
struct Buffer {
  std::string name;
  int64_t width = 0;
  bool of_results = false;
  friend bool operator==(const Buffer&, const Buffer&) = default;
};

struct Program {
  int64_t rank = 0, tp = 1, pp = 1;  // rank = stage * tp + member
  Range layers;                      // of its stage
  Range kv_heads;                    // whose keys and values it keeps, in each of them
  std::vector<Buffer> buffers;
  std::vector<Instruction> instructions;
  int64_t stage() const { return rank / tp; }
  int64_t member() const { return rank % tp; }
  friend bool operator==(const Program&, const Program&) = default;
};

/// `weights`: the names that the model has (biases may be there or not). Throws InputError, beginning with
/// `place`, where the model has fewer layers than stages.
Program build_program(const formats::ModelConfig&, const std::set<std::string>& weights, int64_t tp,
                      int64_t pp, int64_t rank, const std::string& place);

std::string to_text(const Program&);
/// Throws InputError with the line that it does not understand.
Program parse_program(const std::string& text);

/// The programs of all ranks of a replica, in order. Returns "" where every buffer is written before it is
/// read, widths fit, and the ranks' exchanges agree; else a sentence about the first fault.
std::string check_programs(const std::vector<Program>&);

/// Rows of a matrix that member `member` of `tp` computes: in whole blocks of 16 where the rows are such.
Range divided_rows(int64_t rows, int64_t tp, int64_t member);

}  // namespace shoal::infer
