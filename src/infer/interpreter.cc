#include "infer/interpreter.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <vector>

#include "base/fault.h"
#include "base/text.h"
#include "comm/group.h"
#include "infer/kernels/kernels.h"
#include "infer/links.h"
#include "shoal/error.h"

namespace shoal::infer {
namespace {

using formats::ModelConfig;
using formats::ModelFile;
using formats::Weight;
using formats::WeightType;

Weight wanted(const ModelFile& file, const std::string& name, int64_t rows, int64_t columns) {
  const std::optional<Weight> weight = file.weight(name);
  if (!weight)
    throw InputError(cat(file.place(), " - ", name, ": got none, want [", rows, ", ", columns, "]"));
  if (weight->rows < rows || weight->columns != columns)
    throw InputError(cat(file.place(), " - ", name, ": got [", weight->rows, ", ", weight->columns,
                         "], want [", rows, ", ", columns, "]"));
  return *weight;
}

std::vector<float> vector_of(const ModelFile& file, const std::string& name, Range elements, int64_t whole) {
  const Weight weight = wanted(file, name, 1, whole);
  std::vector<float> all(static_cast<size_t>(whole));
  dequantise_row(weight, 0, all.data());
  return {all.begin() + elements.begin, all.begin() + elements.end};
}

CacheType cache_type_of(const ModelFile& file) {
  const std::optional<Weight> weight = file.weight("blk.0.attn_q.weight");
  return cache_type(weight ? weight->type : WeightType::kF32);
}

// An instruction whose names have been looked up.
struct Resolved {
  Op op;
  int output = -1;  // buffers by number
  std::vector<int> inputs;
  std::vector<Range> ranges;
  int64_t heads = 0, peer = -1, layer = -1;
  std::optional<PackedMatrix> matrix;
  Weight table;
  std::vector<float> vector, bias;
};

struct Place {
  int64_t width = 0;
  bool of_results = false;
  std::vector<float> elements;
};

// Rows as some type of weights wants them, for as long as their buffer stands.
struct Prepared {
  int buffer;
  WeightType type;
  Activations activations;
  bool stands = false;
};

}  // namespace

struct Interpreter::Impl {
  Impl(const Program& program, std::shared_ptr<const ModelFile> model, const StepLimits& limits,
       int64_t pages, int64_t positions, comm::Communicator& communicator)
      : file(std::move(model)), config(file->config()), links(communicator, program, limits.rows) {
    for (const Buffer& buffer : program.buffers) {
      numbers[buffer.name] = static_cast<int>(places.size());
      places.push_back({buffer.width, buffer.of_results,
                        std::vector<float>(static_cast<size_t>(limits.rows * buffer.width))});
    }
    for (const Instruction& instruction : program.instructions) resolve(instruction);
    if (!program.kv_heads.empty())
      for (int64_t layer = program.layers.begin; layer < program.layers.end; ++layer)
        caches.emplace(layer,
                       LayerCache(cache_type_of(*file), pages, program.kv_heads.size(), config.head_width));
    if (config.architecture != formats::Architecture::kLlama) return;
    std::vector<float> factors;
    if (file->weight("rope_freqs.weight"))
      factors = vector_of(*file, "rope_freqs.weight", {0, config.rope_width / 2}, config.rope_width / 2);
    rope.emplace(config, positions, factors.empty() ? nullptr : factors.data());
  }

  void resolve(const Instruction& instruction) {
    Resolved found{.op = instruction.op};
    if (!instruction.output.empty()) found.output = numbers.at(instruction.output);
    for (const std::string& input : instruction.inputs) found.inputs.push_back(numbers.at(input));
    found.ranges = instruction.ranges;
    found.heads = instruction.heads, found.peer = instruction.peer, found.layer = instruction.layer;
    const auto width = [&](int number) { return places[static_cast<size_t>(number)].width; };
    switch (instruction.op) {
      case Op::kEmbed:
        found.table = wanted(*file, instruction.weight, config.vocabulary, width(found.output));
        break;
      case Op::kPosition:
        found.table = wanted(*file, instruction.weight, 1, width(found.output));
        break;
      case Op::kMatmul:
      case Op::kLogits: {
        const Weight weight = wanted(*file, instruction.weight, found.ranges[0].end, width(found.inputs[0]));
        found.matrix.emplace(weight, found.ranges[0].begin, found.ranges[0].size());
        break;
      }
      case Op::kBias: {
        const std::optional<Weight> weight = file->weight(instruction.weight);
        found.vector = vector_of(*file, instruction.weight, found.ranges[0], weight ? weight->columns : 0);
        break;
      }
      case Op::kRmsNorm:
      case Op::kLayerNorm: {
        const int64_t elements = instruction.heads > 0 ? config.head_width : width(found.output);
        found.vector = vector_of(*file, instruction.weight, {0, elements}, elements);
        if (!instruction.bias.empty())
          found.bias = vector_of(*file, instruction.bias, {0, elements}, elements);
        break;
      }
      default:
        break;
    }
    instructions.push_back(std::move(found));
  }

  float* data(int number) { return places[static_cast<size_t>(number)].elements.data(); }
  int64_t width(int number) const { return places[static_cast<size_t>(number)].width; }
  int64_t rows(int number) const {
    return static_cast<int64_t>(places[static_cast<size_t>(number)].of_results ? step.results.size()
                                                                               : step.tokens.size());
  }
  int64_t elements(int number) const { return rows(number) * width(number); }

  const Activations& prepare(int buffer, WeightType type, int64_t count) {
    Prepared* found = nullptr;
    for (const auto& one : prepared)
      if (one->buffer == buffer && one->type == type) found = one.get();
    if (!found) {
      prepared.push_back(std::make_unique<Prepared>());
      found = prepared.back().get();
      found->buffer = buffer, found->type = type;
    }
    if (!found->stands) found->activations.set(type, data(buffer), count, width(buffer), width(buffer));
    found->stands = true;
    return found->activations;
  }
  void overwritten(int buffer) {
    for (const auto& one : prepared)
      if (one->buffer == buffer) one->stands = false;
  }

  void attend(const Resolved& it) {
    std::vector<AttentionRows>& all = attention_rows;
    all.clear();
    for (const SequenceRows& one : step.sequences)
      all.push_back({one.first_row, one.rows, one.length, step.pages.data() + one.first_page});
    attention(caches.at(it.layer), all, data(it.inputs[0]), width(it.inputs[0]), it.heads,
              config.sliding_window, data(it.output), width(it.output));
  }

  void take(const Resolved& it) {
    const size_t bytes = static_cast<size_t>(width(it.output)) * sizeof(float);
    for (size_t i = 0; i < step.results.size(); ++i)
      std::memcpy(data(it.output) + static_cast<int64_t>(i) * width(it.output),
                  data(it.inputs[0]) + step.results[i] * width(it.inputs[0]), bytes);
  }

  void embed(const Resolved& it) {
    for (size_t row = 0; row < step.tokens.size(); ++row)
      dequantise_row(it.table, step.tokens[row],
                     data(it.output) + static_cast<int64_t>(row) * width(it.output));
  }

  void add_positions(const Resolved& it) {
    std::vector<float> one(static_cast<size_t>(width(it.output)));
    for (size_t row = 0; row < step.positions.size(); ++row) {
      float* const x = data(it.output) + static_cast<int64_t>(row) * width(it.output);
      dequantise_row(it.table, step.positions[row], one.data());
      add(x, one.data(), width(it.output), x);
    }
  }

  void execute(const Resolved& it) {
    switch (it.op) {
      case Op::kEmbed:
        return embed(it);
      case Op::kPosition:
        return add_positions(it);
      case Op::kRmsNorm: {
        const int64_t each = it.heads > 0 ? config.head_width : width(it.output);
        return rms_norm(data(it.inputs[0]), it.vector.data(), config.norm_epsilon, elements(it.output) / each,
                        each, data(it.output));
      }
      case Op::kLayerNorm:
        return layer_norm(data(it.inputs[0]), it.vector.data(), it.bias.data(), config.norm_epsilon,
                          rows(it.output), width(it.output), data(it.output));
      case Op::kMatmul:
        return matmul(*it.matrix, prepare(it.inputs[0], it.matrix->type(), rows(it.inputs[0])),
                      data(it.output), width(it.output));
      case Op::kBias:
        return add_bias(data(it.output), it.vector.data(), rows(it.output), width(it.output),
                        width(it.output));
      case Op::kRope:
        return rope->rotate(data(it.output), rows(it.output), it.heads, width(it.output),
                            step.positions.data());
      case Op::kStore:
        return caches.at(it.layer).store(data(it.inputs[0]), data(it.inputs[1]), rows(it.inputs[0]),
                                         width(it.inputs[0]), step.places.data());
      case Op::kAttention:
        return attend(it);
      case Op::kGather:
        return links.gather(data(it.inputs[0]), rows(it.inputs[0]), it.ranges, data(it.output),
                            width(it.output));
      case Op::kAdd:
        return add(data(it.inputs[0]), data(it.inputs[1]), elements(it.output), data(it.output));
      case Op::kSiluTimes:
        return silu_times(data(it.inputs[0]), data(it.inputs[1]), elements(it.output), data(it.output));
      case Op::kGelu:
        return gelu(data(it.inputs[0]), elements(it.output), data(it.output));
      case Op::kSend:
        return links.send(it.peer, data(it.inputs[0]), elements(it.inputs[0]));
      case Op::kRecv:
        return links.recv(it.peer, data(it.output), elements(it.output));
      case Op::kTake:
        return take(it);
      case Op::kLogits:
        if (step.num_logits > 0)
          matmul(*it.matrix, prepare(it.inputs[0], it.matrix->type(), step.num_logits),
                 logits + it.ranges[0].begin, config.vocabulary);
        return;
      case Op::kStates:
        std::memcpy(states, data(it.inputs[0]) + step.num_logits * width(it.inputs[0]),
                    static_cast<size_t>(elements(it.inputs[0]) - step.num_logits * width(it.inputs[0])) *
                        sizeof(float));
        return;
    }
  }

  std::shared_ptr<const ModelFile> file;
  const ModelConfig& config;
  Links links;
  std::map<std::string, int> numbers;
  std::vector<Place> places;
  std::vector<Resolved> instructions;
  std::map<int64_t, LayerCache> caches;
  std::optional<RopeTable> rope;
  std::vector<std::unique_ptr<Prepared>> prepared;
  std::vector<AttentionRows> attention_rows;
  StepView step;  // the present one
  float *logits = nullptr, *states = nullptr;
};

Interpreter::Interpreter(const Program& program, std::shared_ptr<const ModelFile> file,
                         const StepLimits& limits, int64_t pages, int64_t positions,
                         comm::Communicator& communicator)
    : impl_(std::make_unique<Impl>(program, std::move(file), limits, pages, positions, communicator)) {}
Interpreter::~Interpreter() = default;

void Interpreter::run(const StepView& step, float* logits, float* states) {
  impl_->step = step;
  impl_->logits = logits, impl_->states = states;
  for (const auto& one : impl_->prepared) one->stands = false;
  for (const Resolved& instruction : impl_->instructions) {
    if (instruction.output >= 0) impl_->overwritten(instruction.output);
    impl_->execute(instruction);
  }
}

int64_t cache_bytes_per_token(const ModelFile& file, int64_t tp, int64_t pp) {
  const ModelConfig& config = file.config();
  const size_t page =
      LayerCache::page_bytes(cache_type_of(file), share(config.kv_heads, tp, 0).size(), config.head_width);
  return static_cast<int64_t>(page) * share(config.layers, pp, 0).size() / kPageTokens;
}

}  // namespace shoal::infer
