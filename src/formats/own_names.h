// What src/models call the weights of ModelFile.
#pragma once

#include <string>

namespace shoal::formats {

/// "blk.3.attn_q.weight" -> "blocks.3.q.weight". REQUIRES: a weight that a gpt or llama of ours has; the three of a
/// gpt's attention are one, "blocks.3.qkv.weight", whose rows are ordered (head, q|k|v, dim).
std::string own_name(const std::string& name);

}  // namespace shoal::formats
