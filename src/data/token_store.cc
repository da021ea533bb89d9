#include "data/token_store.h"

#include <algorithm>
#include <bit>

#include "base/text.h"

namespace shoal::data {

namespace {
constexpr const char* kRepair = "run shoal data again to repair the store";

template <class T>
std::span<const T> numbers(const MappedFile& file) {
  const auto bytes = file.verified();
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}
}  // namespace

TokenStore::TokenStore(const std::filesystem::path& folder)
    : folder_(folder), manifest_(load_manifest(folder)) {
  for (Split split : kSplits) {
    int64_t begin = 0;
    for (const Manifest::Shard& shard : manifest_[split].shards) {
      Shard mapped{begin,
                   std::make_unique<MappedFile>(folder_ / shard.file, shard.tokens * manifest_.token_bytes,
                                                shard.checksum, kRepair),
                   nullptr};
      if (manifest_.version > 1)
        mapped.lengths = std::make_unique<MappedFile>(
            folder_ / lengths_file(shard.file), shard.documents * static_cast<int64_t>(sizeof(uint32_t)),
            shard.lengths_checksum, kRepair);
      begin += shard.tokens;
      shards_[static_cast<size_t>(split)].push_back(std::move(mapped));
    }
  }
}

std::pair<const TokenStore::Shard*, int64_t> TokenStore::find(Split split, int64_t token) const {
  const auto after = std::upper_bound(shards(split).begin(), shards(split).end(), token,
                                      [](int64_t t, const Shard& shard) { return t < shard.begin; });
  const Shard& shard = *std::prev(after);
  return {&shard, token - shard.begin};
}

template <class Token>
void TokenStore::copy(Split split, int64_t begin, std::span<int64_t> out) const {
  while (!out.empty()) {
    const auto [shard, at] = find(split, begin);
    const auto from = numbers<Token>(*shard->tokens).subspan(static_cast<size_t>(at));
    const size_t count = std::min(from.size(), out.size());
    std::copy_n(from.begin(), count, out.begin());
    out = out.subspan(count);
    begin += static_cast<int64_t>(count);
  }
}

void TokenStore::tokens(Split split, int64_t begin, std::span<int64_t> out) const {
  manifest_.token_bytes == 2 ? copy<uint16_t>(split, begin, out) : copy<uint32_t>(split, begin, out);
}

std::vector<int64_t> TokenStore::document_starts(Split split, int64_t begin, int64_t count) const {
  std::vector<int64_t> starts;
  if (count <= 0) return starts;
  const int64_t end = begin + count;
  if (manifest_.version == 1) {  // behind each end: no byte is one
    std::vector<int64_t> seen(static_cast<size_t>(count));
    const int64_t from = std::max<int64_t>(0, begin - 1);
    seen.resize(static_cast<size_t>(end - from));
    tokens(split, from, seen);
    if (begin == 0) starts.push_back(0);
    for (int64_t at = from; at + 1 < end; ++at)
      if (seen[static_cast<size_t>(at - from)] == kEndOfDocument) starts.push_back(at + 1);
    return starts;
  }
  for (const Shard& shard : shards(split)) {  // documents do not run over shards
    if (&shard < find(split, begin).first || shard.begin >= end) continue;
    int64_t start = shard.begin;
    for (const uint32_t length : numbers<uint32_t>(*shard.lengths)) {
      if (start >= begin && start < end) starts.push_back(start);
      start += length;
    }
  }
  return starts;
}

std::vector<int64_t> TokenStore::document_lengths(Split split) const {
  std::vector<int64_t> lengths;
  if (manifest_.version == 1) {
    const std::vector<int64_t> starts = document_starts(split, 0, num_tokens(split));
    for (size_t i = 0; i < starts.size(); ++i)
      lengths.push_back((i + 1 < starts.size() ? starts[i + 1] : num_tokens(split)) - starts[i]);
  } else {
    for (const Shard& shard : shards(split))
      for (const uint32_t length : numbers<uint32_t>(*shard.lengths)) lengths.push_back(length);
  }
  return lengths;
}

void TokenStore::verify() const {
  for (Split split : kSplits)
    for (const Shard& shard : shards(split)) {
      shard.tokens->verified();
      if (shard.lengths) shard.lengths->verified();
    }
}

std::string TokenStore::describe() const {
  const Manifest::Tokenizer& tokenizer = manifest_.tokenizer;
  std::string text = cat(folder_.string(), ": a token store, shards of ",
                         manifest_.version == 1 ? cat(manifest_.shard_tokens) : "any number of", " tokens\n");
  text += cat("  tokenizer  ", tokenizer.kind,
              tokenizer.identity.empty() ? "" : cat(" ", tokenizer.identity.substr(0, 12)), ", vocabulary ",
              tokenizer.vocabulary, ", ",
              tokenizer.end_of_document < 0 ? "no end of documents"
                                            : cat("documents end with ", tokenizer.end_of_document),
              ", ", manifest_.token_bytes, " bytes a token\n");
  for (const Split split : kSplits) {
    const Manifest::SplitPart& part = manifest_[split];
    std::string name(split_name(split));
    name.resize(11, ' ');
    text += cat("  ", name, part.documents, " documents, ", part.tokens, " tokens in ", part.shards.size(),
                " shards, unigram entropy ", part.unigram_entropy, " nats\n");
  }
  for (const Split split : kSplits) {
    std::vector<int64_t> counts;  // of lengths with as many bits
    for (const int64_t length : document_lengths(split)) {
      const size_t bits = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(length)));
      counts.resize(std::max(counts.size(), bits + 1));
      ++counts[bits];
    }
    if (counts.empty()) continue;
    text += cat("  lengths of ", split_name(split), " documents, in tokens\n");
    const int64_t most = *std::max_element(counts.begin(), counts.end());
    for (size_t bits = 0; bits < counts.size(); ++bits) {
      if (counts[bits] == 0) continue;
      const int64_t low = bits == 0 ? 0 : int64_t{1} << (bits - 1), high = (int64_t{1} << bits) - 1;
      std::string range = cat(low, " to ", high);
      range.insert(0, range.size() < 22 ? 22 - range.size() : 0, ' ');
      text +=
          cat("  ", range, "  ", std::string(static_cast<size_t>((counts[bits] * 40 + most - 1) / most), '#'),
              " ", counts[bits], "\n");
    }
  }
  return text;
}

}  // namespace shoal::data
