#include "formats/hf_names.h"

#include <array>
#include <stdexcept>

#include "base/fault.h"
#include "base/text.h"

namespace shoal::formats {
namespace {

struct Row {
  const char* ours;  // without ".weight" or ".bias"; of layers without "blk.3."
  const char* theirs;
  bool transposed = false;
  int third = -1;
};

constexpr Row kLlama[] = {{"token_embd", "model.embed_tokens"},
                          {"output_norm", "model.norm"},
                          {"output", "lm_head"},
                          {"attn_norm", "input_layernorm"},
                          {"attn_q", "self_attn.q_proj"},
                          {"attn_k", "self_attn.k_proj"},
                          {"attn_v", "self_attn.v_proj"},
                          {"attn_output", "self_attn.o_proj"},
                          {"attn_q_norm", "self_attn.q_norm"},
                          {"attn_k_norm", "self_attn.k_norm"},
                          {"ffn_norm", "post_attention_layernorm"},
                          {"ffn_gate", "mlp.gate_proj"},
                          {"ffn_up", "mlp.up_proj"},
                          {"ffn_down", "mlp.down_proj"}};
constexpr Row kGpt2[] = {{"token_embd", "transformer.wte"},
                         {"position_embd", "transformer.wpe"},
                         {"output_norm", "transformer.ln_f"},
                         {"output", "lm_head"},
                         {"attn_norm", "ln_1"},
                         {"attn_q", "attn.c_attn", true, 0},
                         {"attn_k", "attn.c_attn", true, 1},
                         {"attn_v", "attn.c_attn", true, 2},
                         {"attn_output", "attn.c_proj", true},
                         {"ffn_norm", "ln_2"},
                         {"ffn_up", "mlp.c_fc", true},
                         {"ffn_down", "mlp.c_proj", true}};

template <size_t count>
const Row* find(const Row (&rows)[count], const std::string& ours) {
  for (const Row& row : rows)
    if (ours == row.ours) return &row;
  return nullptr;
}

}  // namespace

HfPlace hf_place(Architecture architecture, const std::string& name) {
  const bool is_gpt2 = architecture == Architecture::kGpt2;
  const size_t kind = name.rfind('.');
  std::string layer, ours = name.substr(0, kind);
  if (name.starts_with("blk.")) {
    const size_t dot = name.find('.', 4);
    layer = cat(is_gpt2 ? "transformer.h." : "model.layers.", name.substr(4, dot - 4), ".");
    ours = name.substr(dot + 1, kind - dot - 1);
  }
  if (ours == "rope_freqs") return {"rope_freqs.weight"};  // such folders say it in config.json
  const Row* const row = is_gpt2 ? find(kGpt2, ours) : find(kLlama, ours);
  if (!row) throw BrokenInvariant(cat("hf_place: no row for ", name));
  const bool is_matrix = name.ends_with(".weight");
  return {layer + row->theirs + name.substr(kind), row->transposed && is_matrix, row->third};
}

bool hf_ignores(const ModelConfig& config, const std::string& name) {
  if (config.tied_head && name == "lm_head.weight") return true;
  if (config.architecture == Architecture::kGpt2)
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  return name.ends_with(".rotary_emb.inv_freq");
}

}  // namespace shoal::formats
