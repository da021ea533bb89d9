#include "data/sample_source.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "base/text.h"
#include "shoal/error.h"

namespace shoal::data {

namespace {
constexpr uint64_t kWalkStream = 0x77616c6b;            // "walk"
constexpr uint64_t kValidationStream = 0x76616c696461;  // "valida"

int64_t num_windows(int64_t tokens, int64_t context) { return std::max<int64_t>(0, (tokens - 1) / context); }

int64_t num_train_windows(const TokenStore& store, int64_t context) {
  const int64_t tokens = store.num_tokens(Split::kTrain);
  if (num_windows(tokens, context) == 0) {
    throw InputError(cat(store.folder().string(), " - train split too short: got ", tokens,
                         " tokens, want at least ", context + 1,
                         " (the context and one more); add text, or choose a smaller context"));
  }
  return num_windows(tokens, context);
}
}  // namespace

StoreSource::StoreSource(std::shared_ptr<const TokenStore> store, int64_t context, uint64_t seed)
    : store_(std::move(store)), context_(context), order_(seed, num_train_windows(*store_, context)) {}

void StoreSource::sample(int64_t index, std::span<int64_t> tokens) const {
  store_->tokens(Split::kTrain, order_(index) * context_, tokens);
}

int64_t StoreSource::num_validation_samples() const {
  return num_windows(store_->num_tokens(Split::kValidation), context_);
}

void StoreSource::validation_sample(int64_t index, std::span<int64_t> tokens) const {
  store_->tokens(Split::kValidation, index * context_, tokens);
}

RandomSource::RandomSource(int64_t vocabulary, int64_t context, uint64_t seed)
    : vocabulary_(vocabulary), context_(context), seed_(seed) {}

void RandomSource::sample(int64_t index, std::span<int64_t> tokens) const {
  walk(random_bits(seed_, kWalkStream, static_cast<uint64_t>(index)), tokens);
}

void RandomSource::validation_sample(int64_t index, std::span<int64_t> tokens) const {
  walk(random_bits(0, kValidationStream, static_cast<uint64_t>(index)), tokens);
}

double RandomSource::unigram_entropy() const { return std::log(static_cast<double>(vocabulary_)); }

void RandomSource::walk(uint64_t key, std::span<int64_t> tokens) const {
  int64_t token = static_cast<int64_t>(random_bits(key, 0, 0) % static_cast<uint64_t>(vocabulary_));
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = token;
    token = (5 * token + 17 + static_cast<int64_t>(random_bits(key, 1, i) % 8)) % vocabulary_;
  }
}

}  // namespace shoal::data
