// Which tokens of which documents lie in which shard: a function of the documents and two settings.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/blocks.h"
#include "data/documents.h"
#include "data/manifest.h"

namespace shoal::data {

class ShardPlan {
 public:
  struct Shard {
    Split split;
    std::string stem;
    Range tokens;  // of the split
  };

  /// Keeps a reference to `documents`.
  ShardPlan(const std::vector<Document>& documents, int64_t validation_every, int64_t shard_tokens);

  /// Those of the train split, then those of the validation split.
  const std::vector<Shard>& shards() const { return shards_; }
  int64_t num_documents(Split split) const { return static_cast<int64_t>(line(split).documents.size()); }
  int64_t num_tokens(Split split) const { return line(split).starts.back(); }
  /// What the manifest calls `input`.
  const std::string& input() const { return input_; }

  /// Reads a shard's documents, or the parts of them that it holds. Throws JobError when one has changed.
  std::vector<uint16_t> read(const Shard&) const;

 private:
  /// The documents of a split, one after another.
  struct Line {
    std::vector<const Document*> documents;
    std::vector<int64_t> starts = {0};  // where each begins, in tokens; then the end
  };
  const Line& line(Split split) const { return lines_[static_cast<size_t>(split)]; }

  std::array<Line, 2> lines_;
  std::vector<Shard> shards_;
  std::string input_;
};

}  // namespace shoal::data
