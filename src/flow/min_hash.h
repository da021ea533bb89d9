// MinHash (Broder, "On the resemblance and containment of documents", 1997): texts become a few numbers each,
// and as many of two texts' numbers are equal as their sets of shingles are alike. Cut into bands of rows
// (Leskovec, Rajaraman, Ullman, "Mining of massive datasets", 3.4), texts that share a whole band are
// candidates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/flow.h"

namespace shoal::flow {

/// Belongs to one thread.
class MinHasher {
 public:
  /// Throws InputError "place: ..." for settings that are none.
  MinHasher(const flow_steps::NearDuplicates&, const std::string& place);

  /// The text's numbers: bands * rows. False where it has no word, and so is like nothing.
  bool sign(std::string_view text);
  const std::vector<uint32_t>& signature() const { return signature_; }
  /// One number for each band: equal for texts that share it, and for no others to be met with.
  const std::vector<uint64_t>& band_hashes();
  /// The lowest byte of each number of the signature: enough to estimate how alike two texts are.
  std::string sketch() const;

 private:
  void simplify(std::string_view text);
  void cut_shingles();
  size_t words_ = 0, characters_ = 0;  // of a shingle; one of both
  size_t bands_, rows_;
  std::vector<uint32_t> factors_, terms_;  // of the permutations
  std::string simple_;                     // small letters, one space between words
  std::vector<uint32_t> starts_, ends_;    // of its words, or characters
  std::vector<uint32_t> shingles_;
  std::vector<uint32_t> signature_;
  std::vector<uint64_t> band_hashes_;
};

/// How alike two texts are, from their sketches: the estimate of Li and Koenig, "b-bit minwise hashing"
/// (2010), of as many bytes that are equal.
double estimated_similarity(std::string_view sketch, std::string_view other);

}  // namespace shoal::flow
