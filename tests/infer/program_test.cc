#include "infer/program.h"

#include <gtest/gtest.h>

#include "shoal/error.h"
#include "support/expect_error.h"

namespace shoal::infer {
namespace {

formats::ModelConfig config_of(formats::Architecture architecture) {
  formats::ModelConfig config;
  config.architecture = architecture;
  config.vocabulary = 70, config.layers = 3, config.width = 48, config.heads = 6, config.kv_heads = 3;
  config.head_width = 8, config.hidden = 96, config.context = 64;
  return config;
}

std::vector<Program> programs(const formats::ModelConfig& config, int64_t tp, int64_t pp) {
  std::vector<Program> all;
  for (int64_t rank = 0; rank < tp * pp; ++rank)
    all.push_back(build_program(config, {"blk.0.attn_q.bias", "output.weight"}, tp, pp, rank, "model"));
  return all;
}

TEST(InferProgram, EveryLayoutIsRight) {
  for (const auto architecture : {formats::Architecture::kLlama, formats::Architecture::kGpt2})
    for (int64_t tp = 1; tp <= 8; ++tp)
      for (int64_t pp = 1; pp <= 3; ++pp) {
        const auto all = programs(config_of(architecture), tp, pp);
        EXPECT_EQ(check_programs(all), "") << "tp=" << tp << " pp=" << pp;
        for (const Program& program : all)
          EXPECT_EQ(parse_program(to_text(program)), program) << to_text(program);
      }
}

TEST(InferProgram, ReadsAsItIs) {
  auto config = config_of(formats::Architecture::kLlama);
  config.layers = 1;
  EXPECT_EQ(to_text(build_program(config, {"blk.0.attn_q.bias"}, 2, 1, 1, "model")),
            R"(program rank=1 tp=2 pp=1 layers=0..1 kv_heads=2..3
buffer x width=48
buffer normed width=48
buffer q width=16
buffer k width=8
buffer v width=8
buffer seen width=16
buffer seens width=48
buffer out width=16
buffer outs width=48
buffer hidden width=48
buffer up width=48
buffer hiddens width=96
buffer down width=16
buffer downs width=48
buffer last width=48 results
x = embed weight=token_embd.weight
normed = rms_norm x weight=blk.0.attn_norm.weight
q = matmul normed weight=blk.0.attn_q.weight ranges=32..48
q = bias q weight=blk.0.attn_q.bias ranges=32..48
k = matmul normed weight=blk.0.attn_k.weight ranges=16..24
v = matmul normed weight=blk.0.attn_v.weight ranges=16..24
q = rope q heads=2
k = rope k heads=1
store k v layer=0
seen = attention q layer=0 heads=2
seens = gather seen ranges=0..32,32..48
out = matmul seens weight=blk.0.attn_output.weight ranges=32..48
outs = gather out ranges=0..32,32..48
x = add x outs
normed = rms_norm x weight=blk.0.ffn_norm.weight
hidden = matmul normed weight=blk.0.ffn_gate.weight ranges=48..96
up = matmul normed weight=blk.0.ffn_up.weight ranges=48..96
hidden = silu_times hidden up
hiddens = gather hidden ranges=0..48,48..96
down = matmul hiddens weight=blk.0.ffn_down.weight ranges=32..48
downs = gather down ranges=0..32,32..48
x = add x downs
last = take x
last = rms_norm last weight=output_norm.weight
logits last weight=output.weight ranges=35..70
)");
}

TEST(InferProgram, FaultsAreFound) {
  auto all = programs(config_of(formats::Architecture::kLlama), 2, 1);
  const auto broken = [&](auto change) {
    auto copy = all;
    change(copy);
    return check_programs(copy);
  };
  EXPECT_EQ(broken([](auto& p) { p[1].instructions.erase(p[1].instructions.begin()); }),
            "rank 1, instruction 0 - reads x, which nothing has written");
  EXPECT_EQ(broken([](auto& p) { p[0].instructions[2].ranges[0].end += 16; }),
            "rank 0, instruction 2 - has other rows than the 32 of q");
  EXPECT_EQ(broken([](auto& p) {
              std::erase_if(p[1].instructions, [](const auto& one) { return one.op == Op::kAdd; }),
                  std::erase_if(p[1].instructions, [](const auto& one) {
                    return one.op == Op::kGather && one.inputs[0] == "down";
                  });
            }),
            "rank 1 - gathers 9 times, rank 0 12");
  EXPECT_EQ(broken([](auto& p) { p.pop_back(); }), "rank 0 - the programs are not those of one replica");
  EXPECT_ERROR(build_program(config_of(formats::Architecture::kLlama), {}, 1, 4, 0, "model"), InputError,
               "model - layout: got pp=4, want at most the model's 3 layers");
  EXPECT_ERROR(parse_program("x = dance y\n"), InputError,
               "program, line 1 - got \"x = dance y\", want a buffer or an instruction");
}

}  // namespace
}  // namespace shoal::infer
