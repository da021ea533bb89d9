#include "flow/min_hash.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr size_t kBlock = 32;  // permutations at a time: their least numbers stay in registers

// What a byte is to a word: small letters for letters, itself for digits and all that is not ASCII, else 0.
constexpr std::array<char, 256> make_letters() {
  std::array<char, 256> letters{};
  for (int c = 0; c < 256; ++c) {
    if (c >= 'A' && c <= 'Z')
      letters[c] = static_cast<char>(c - 'A' + 'a');
    else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80)
      letters[c] = static_cast<char>(c);
  }
  return letters;
}
constexpr std::array<char, 256> kLetters = make_letters();

/// least[i] = min over the shingles of factors[i] * shingle + terms[i], modulo 2^32. Whole numbers: the same
/// on every machine.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
void permute(const uint32_t* shingles, size_t count, const uint32_t* factors, const uint32_t* terms,
             uint32_t* least) {
  uint32_t best[kBlock];
  for (size_t i = 0; i < kBlock; ++i) best[i] = std::numeric_limits<uint32_t>::max();
  for (size_t s = 0; s < count; ++s) {
    const uint32_t shingle = shingles[s];
    for (size_t i = 0; i < kBlock; ++i) {
      const uint32_t number = factors[i] * shingle + terms[i];
      best[i] = number < best[i] ? number : best[i];
    }
  }
  for (size_t i = 0; i < kBlock; ++i) least[i] = best[i];
}

size_t count_of(const std::string& shingles, std::string_view prefix) {
  if (!shingles.starts_with(prefix)) return 0;
  size_t count = 0;
  const char *begin = shingles.data() + prefix.size(), *stop = shingles.data() + shingles.size();
  const auto [end, error] = std::from_chars(begin, stop, count);
  return error == std::errc() && end == stop && count <= 1000 ? count : 0;
}

}  // namespace

MinHasher::MinHasher(const flow_steps::NearDuplicates& step, const std::string& place) {
  words_ = count_of(step.shingles, "words:");
  characters_ = count_of(step.shingles, "characters:");
  if (words_ + characters_ == 0)
    throw InputError(
        cat(place, ": shingles: got ", step.shingles, ", want words:N or characters:N, N from 1 to 1000"));
  if (step.bands < 1 || step.rows < 1 || step.bands > 1000 || step.rows > 1000 ||
      step.bands * step.rows > 4096)
    throw InputError(cat(place, ": bands and rows: got ", step.bands, " and ", step.rows,
                         ", want at least 1 each, and at most 4096 numbers together"));
  if (!(step.similarity >= 0 && step.similarity <= 1))
    throw InputError(cat(place, ": similarity: got ", step.similarity, ", want 0 to 1"));
  bands_ = static_cast<size_t>(step.bands);
  rows_ = static_cast<size_t>(step.rows);
  const size_t padded = (bands_ * rows_ + kBlock - 1) / kBlock * kBlock;
  for (size_t i = 0; i < padded; ++i) {
    factors_.push_back(static_cast<uint32_t>(random_bits(step.seed, 0, i)) | 1);
    terms_.push_back(static_cast<uint32_t>(random_bits(step.seed, 1, i)));
  }
  signature_.resize(padded);
  band_hashes_.resize(bands_);
}

/// Small letters, words with one space between; where words begin and end, or characters.
void MinHasher::simplify(std::string_view text) {
  simple_.resize(text.size() + 1);
  starts_.clear(), ends_.clear();
  size_t at = 0;
  bool inside = false;
  for (const char c : text) {
    const char letter = kLetters[static_cast<unsigned char>(c)];
    if (letter == 0) {
      if (inside && words_ > 0) ends_.push_back(static_cast<uint32_t>(at));
      if (inside) simple_[at++] = ' ';
      inside = false;
      continue;
    }
    if (!inside && words_ > 0) starts_.push_back(static_cast<uint32_t>(at));
    inside = true;
    simple_[at++] = letter;
  }
  if (inside && words_ > 0) ends_.push_back(static_cast<uint32_t>(at));
  if (!inside && at > 0) --at;  // the space at the end
  simple_.resize(at);
  if (words_ > 0) return;
  for (uint32_t i = 0; i < at; ++i)
    if ((static_cast<unsigned char>(simple_[i]) & 0xC0) != 0x80) starts_.push_back(i);
  for (size_t i = 1; i < starts_.size(); ++i) ends_.push_back(starts_[i]);
  if (!starts_.empty()) ends_.push_back(static_cast<uint32_t>(at));
}

void MinHasher::cut_shingles() {
  const size_t length = std::min(words_ + characters_, starts_.size());  // a short text is one shingle
  shingles_.clear();
  for (size_t i = 0; i + length <= starts_.size(); ++i) {
    const size_t begin = starts_[i];
    shingles_.push_back(static_cast<uint32_t>(
        hash_bits(std::string_view(simple_.data() + begin, ends_[i + length - 1] - begin)) >> 32));
  }
}

bool MinHasher::sign(std::string_view text) {
  simplify(text);
  if (starts_.empty()) return false;
  cut_shingles();
  for (size_t i = 0; i < signature_.size(); i += kBlock)
    permute(shingles_.data(), shingles_.size(), &factors_[i], &terms_[i], &signature_[i]);
  return true;
}

const std::vector<uint64_t>& MinHasher::band_hashes() {
  for (size_t band = 0; band < bands_; ++band) {
    const char* const begin = reinterpret_cast<const char*>(&signature_[band * rows_]);
    // the band's number goes in: what is equal in other bands is nothing to this one
    band_hashes_[band] =
        hash_bits(std::string_view(begin, rows_ * sizeof(uint32_t))) * 0x9E3779B97F4A7C15u + band;
  }
  return band_hashes_;
}

std::string MinHasher::sketch() const {
  std::string bytes(bands_ * rows_, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(signature_[i] & 0xFF);
  return bytes;
}

double estimated_similarity(std::string_view sketch, std::string_view other) {
  size_t equal = 0;
  for (size_t i = 0; i < sketch.size(); ++i) equal += sketch[i] == other[i];
  const double chance = 1.0 / 256;
  const double share = static_cast<double>(equal) / static_cast<double>(sketch.size());
  return (share - chance) / (1 - chance);
}

}  // namespace shoal::flow
