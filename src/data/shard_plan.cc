#include "data/shard_plan.h"

#include <algorithm>
#include <span>

#include "base/hash.h"
#include "base/text.h"

namespace shoal::data {

namespace {
constexpr int64_t kChunkBytes = int64_t{1} << 20;

/// The bytes [begin, end) of the document, each as a token.
void read_bytes(const Document& document, Range bytes, std::vector<std::byte>& buffer,
                std::vector<uint16_t>& tokens) {
  const InputFile file(document.path);
  for (int64_t offset = bytes.begin; offset < bytes.end;) {
    const size_t want = static_cast<size_t>(std::min(kChunkBytes, bytes.end - offset));
    const size_t got = file.read(offset, std::span(buffer).first(want));
    for (size_t i = 0; i < got; ++i) tokens.push_back(std::to_integer<uint16_t>(buffer[i]));
    if (got < want) break;  // it became shorter
    offset += static_cast<int64_t>(got);
  }
  file.expect_unchanged(document.state);
}
}  // namespace

ShardPlan::ShardPlan(const std::vector<Document>& documents, int64_t validation_every, int64_t shard_tokens) {
  std::string identity = cat(validation_every, " ", shard_tokens, "\n");
  for (size_t i = 0; i < documents.size(); ++i) {
    const bool validates =
        validation_every > 0 && static_cast<int64_t>(i) % validation_every == validation_every - 1;
    Line& line = lines_[static_cast<size_t>(validates ? Split::kValidation : Split::kTrain)];
    line.documents.push_back(&documents[i]);
    line.starts.push_back(line.starts.back() + documents[i].state.bytes + 1);
    identity += cat(documents[i].state.bytes, " ", documents[i].digest, "\n");
  }
  input_ = hash_hex(identity);
  for (Split split : kSplits) {
    for (int64_t begin = 0, index = 0; begin < num_tokens(split); begin += shard_tokens, ++index) {
      shards_.push_back(
          {split, shard_stem(split, index), {begin, std::min(begin + shard_tokens, num_tokens(split))}});
    }
  }
}

std::vector<uint16_t> ShardPlan::read(const Shard& shard) const {
  const Line& from = line(shard.split);
  std::vector<uint16_t> tokens;
  tokens.reserve(static_cast<size_t>(shard.tokens.size()));
  std::vector<std::byte> buffer(static_cast<size_t>(std::min(kChunkBytes, shard.tokens.size())));
  const auto first =
      std::upper_bound(from.starts.begin(), from.starts.end(), shard.tokens.begin) - from.starts.begin() - 1;
  for (size_t d = static_cast<size_t>(first); d < from.documents.size() && from.starts[d] < shard.tokens.end;
       ++d) {
    const Document& document = *from.documents[d];
    const int64_t start = from.starts[d],
                  end = start + document.state.bytes;  // of its bytes; the end token comes at `end`
    const Range bytes = intersect(shard.tokens, {start, end});
    if (!bytes.empty()) read_bytes(document, {bytes.begin - start, bytes.end - start}, buffer, tokens);
    if (end < shard.tokens.end) tokens.push_back(kEndOfDocument);
  }
  return tokens;
}

}  // namespace shoal::data
