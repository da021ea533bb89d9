#include "formats/own_names.h"

#include <map>
#include <string_view>

#include "base/text.h"

namespace shoal::formats {

OwnPlace own_place(Architecture architecture, const std::string& name) {
  static const std::map<std::string, std::string> kNames = {{"token_embd", "tokens"},
                                                            {"position_embd", "positions"},
                                                            {"output_norm", "norm"},
                                                            {"output", "head"},
                                                            {"attn_norm", "norm1"},
                                                            {"attn_q", "q"},
                                                            {"attn_k", "k"},
                                                            {"attn_v", "v"},
                                                            {"attn_output", "projection"},
                                                            {"ffn_norm", "norm2"},
                                                            {"ffn_gate", "gate"},
                                                            {"ffn_up", "up"},
                                                            {"ffn_down", "down"}};
  const size_t kind = name.rfind('.');
  if (!name.starts_with("blk.")) return {kNames.at(name.substr(0, kind)) + name.substr(kind)};
  const size_t dot = name.find('.', 4);
  OwnPlace place{kNames.at(name.substr(dot + 1, kind - dot - 1))};
  if (const size_t part = std::string_view("qkv").find(place.name);
      architecture == Architecture::kGpt2 && part != std::string_view::npos)
    place = {"qkv", static_cast<int>(part)};
  place.name = cat("blocks.", name.substr(4, dot - 4), ".", place.name, name.substr(kind));
  return place;
}

}  // namespace shoal::formats
