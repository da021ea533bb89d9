#include "infer/program.h"

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::infer {
namespace {

using formats::Architecture;
using formats::ModelConfig;

constexpr int64_t kRowBlock = 16;  // products are fastest on such

class Builder {
 public:
  Builder(const ModelConfig& config, const std::set<std::string>& weights, int64_t tp, int64_t pp,
          int64_t rank)
      : config_(config), weights_(weights) {
    program_.tp = tp, program_.pp = pp, program_.rank = rank;
    program_.layers = share(config.layers, pp, program_.stage());
    program_.kv_heads = share(config.kv_heads, tp, program_.member());
  }

  Program build() {
    buffer("x", config_.width);
    if (program_.stage() == 0) {
      add({.op = Op::kEmbed, .output = "x", .weight = "token_embd.weight"});
      if (config_.architecture == Architecture::kGpt2)
        add({.op = Op::kPosition, .output = "x", .inputs = {"x"}, .weight = "position_embd.weight"});
    } else {
      add({.op = Op::kRecv, .output = "x", .peer = program_.rank - program_.tp});
    }
    for (int64_t layer = program_.layers.begin; layer < program_.layers.end; ++layer) {
      attention(layer);
      feed_forward(layer);
    }
    if (program_.stage() + 1 < program_.pp)
      add({.op = Op::kSend, .inputs = {"x"}, .peer = program_.rank + program_.tp});
    else
      head();
    return std::move(program_);
  }

 private:
  void add(Instruction instruction) { program_.instructions.push_back(std::move(instruction)); }
  void buffer(const std::string& name, int64_t width, bool of_results = false) {
    for (const Buffer& known : program_.buffers)
      if (known.name == name) return;
    program_.buffers.push_back({name, width, of_results});
  }

  void norm(const std::string& output, const std::string& input, const std::string& name) {
    if (config_.architecture == Architecture::kGpt2)
      add({.op = Op::kLayerNorm,
           .output = output,
           .inputs = {input},
           .weight = name + ".weight",
           .bias = name + ".bias"});
    else
      add({.op = Op::kRmsNorm, .output = output, .inputs = {input}, .weight = name + ".weight"});
  }

  // This member's rows of a product, and their biases where the model has such.
  void matmul(const std::string& output, const std::string& input, const std::string& name, Range rows) {
    buffer(output, rows.size());
    if (rows.empty()) return;
    add({.op = Op::kMatmul,
         .output = output,
         .inputs = {input},
         .weight = name + ".weight",
         .ranges = {rows}});
    if (weights_.contains(name + ".bias"))
      add({.op = Op::kBias,
           .output = output,
           .inputs = {output},
           .weight = name + ".bias",
           .ranges = {rows}});
  }

  // What `parts` have become together; the parts of one device are the whole.
  template <class RangeOf>
  std::string gather(const std::string& part, int64_t width, RangeOf range_of) {
    if (program_.tp == 1) return part;
    const std::string whole = part + "s";
    buffer(whole, width);
    Instruction gather{.op = Op::kGather, .output = whole, .inputs = {part}};
    for (int64_t member = 0; member < program_.tp; ++member) gather.ranges.push_back(range_of(member));
    add(std::move(gather));
    return whole;
  }
  std::string gather_rows(const std::string& part, int64_t rows) {
    return gather(part, rows, [&](int64_t member) { return divided_rows(rows, program_.tp, member); });
  }
  Range own_rows(int64_t rows) const { return divided_rows(rows, program_.tp, program_.member()); }

  void attention(int64_t layer) {
    const std::string block = cat("blk.", layer, ".");
    const int64_t width = config_.head_width, group = config_.heads / config_.kv_heads;
    const auto kv_rows = [&](Range heads) { return Range{heads.begin * width, heads.end * width}; };
    const auto query_rows = [&](Range heads) {
      return Range{heads.begin * group * width, heads.end * group * width};
    };
    const Range mine = program_.kv_heads;
    buffer("normed", config_.width);
    norm("normed", "x", block + "attn_norm");
    matmul("q", "normed", block + "attn_q", query_rows(mine));
    matmul("k", "normed", block + "attn_k", kv_rows(mine));
    matmul("v", "normed", block + "attn_v", kv_rows(mine));
    buffer("seen", query_rows(mine).size());
    if (!mine.empty()) {
      const int64_t kv_heads = mine.size(), heads = kv_heads * group;
      if (config_.query_key_norm) {
        add({.op = Op::kRmsNorm,
             .output = "q",
             .inputs = {"q"},
             .weight = block + "attn_q_norm.weight",
             .heads = heads});
        add({.op = Op::kRmsNorm,
             .output = "k",
             .inputs = {"k"},
             .weight = block + "attn_k_norm.weight",
             .heads = kv_heads});
      }
      if (config_.architecture == Architecture::kLlama) {
        add({.op = Op::kRope, .output = "q", .inputs = {"q"}, .heads = heads});
        add({.op = Op::kRope, .output = "k", .inputs = {"k"}, .heads = kv_heads});
      }
      add({.op = Op::kStore, .inputs = {"k", "v"}, .layer = layer});
      add({.op = Op::kAttention, .output = "seen", .inputs = {"q"}, .layer = layer, .heads = heads});
    }
    const std::string seen = gather("seen", config_.heads * width, [&](int64_t member) {
      return query_rows(share(config_.kv_heads, program_.tp, member));
    });
    matmul("out", seen, block + "attn_output", own_rows(config_.width));
    add({.op = Op::kAdd, .output = "x", .inputs = {"x", gather_rows("out", config_.width)}});
  }

  void feed_forward(int64_t layer) {
    const std::string block = cat("blk.", layer, ".");
    const Range mine = own_rows(config_.hidden);
    norm("normed", "x", block + "ffn_norm");
    if (config_.architecture == Architecture::kGpt2) {
      matmul("hidden", "normed", block + "ffn_up", mine);
      if (!mine.empty()) add({.op = Op::kGelu, .output = "hidden", .inputs = {"hidden"}});
    } else {
      matmul("hidden", "normed", block + "ffn_gate", mine);
      matmul("up", "normed", block + "ffn_up", mine);
      if (!mine.empty()) add({.op = Op::kSiluTimes, .output = "hidden", .inputs = {"hidden", "up"}});
    }
    matmul("down", gather_rows("hidden", config_.hidden), block + "ffn_down", own_rows(config_.width));
    add({.op = Op::kAdd, .output = "x", .inputs = {"x", gather_rows("down", config_.width)}});
  }

  void head() {
    buffer("last", config_.width, true);
    add({.op = Op::kTake, .output = "last", .inputs = {"x"}});
    norm("last", "last", "output_norm");
    const Range mine = own_rows(config_.vocabulary);
    const std::string weight = config_.tied_head ? "token_embd.weight" : "output.weight";
    if (!mine.empty()) add({.op = Op::kLogits, .inputs = {"last"}, .weight = weight, .ranges = {mine}});
    if (program_.member() == 0) add({.op = Op::kStates, .inputs = {"last"}});
  }

  const ModelConfig& config_;
  const std::set<std::string>& weights_;
  Program program_;
};

}  // namespace

Range divided_rows(int64_t rows, int64_t tp, int64_t member) {
  const int64_t block = rows % kRowBlock == 0 ? kRowBlock : 1;
  const Range blocks = share(rows / block, tp, member);
  return {blocks.begin * block, blocks.end * block};
}

Program build_program(const ModelConfig& config, const std::set<std::string>& weights, int64_t tp, int64_t pp,
                      int64_t rank, const std::string& place) {
  if (pp > config.layers)
    throw InputError(
        cat(place, " - layout: got pp=", pp, ", want at most the model's ", config.layers, " layers"));
  return Builder(config, weights, tp, pp, rank).build();
}

}  // namespace shoal::infer
