// What training reads: numbered samples of tokens, whatever they come from.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "data/sample_order.h"
#include "data/token_store.h"

namespace shoal::data {

/// Samples are pure functions of their index: any device can read any of them, in any order, any number of
/// times. Threads: const functions from any.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  /// Tokens are in [0, vocabulary()).
  virtual int64_t vocabulary() const = 0;
  /// A sample has one token more: the first context() are the input, the last context() the targets.
  virtual int64_t context() const = 0;
  /// Training sample `index`, counted from 0 over the whole run; there is no last one. REQUIRES:
  /// tokens.size() == context() + 1.
  virtual void sample(int64_t index, std::span<int64_t> tokens) const = 0;
  /// Validation samples are a fixed list, the same for every seed.
  virtual int64_t num_validation_samples() const = 0;
  virtual void validation_sample(int64_t index, std::span<int64_t> tokens) const = 0;
  /// The validation loss, in nats a token, of a model that knows how frequent each token is and nothing else:
  /// what training must beat.
  virtual double unigram_entropy() const = 0;
};

/// Windows of a token store, context + 1 tokens at a stride of context: in the order of SampleOrder for
/// training, front to back for validation. A rest shorter than a window is left out.
class StoreSource : public SampleSource {
 public:
  /// Throws InputError when the train split is shorter than one window. REQUIRES: context >= 1.
  StoreSource(std::shared_ptr<const TokenStore> store, int64_t context, uint64_t seed);

  int64_t vocabulary() const override { return store_->manifest().tokenizer.vocabulary; }
  int64_t context() const override { return context_; }
  void sample(int64_t index, std::span<int64_t> tokens) const override;
  int64_t num_validation_samples() const override;
  void validation_sample(int64_t index, std::span<int64_t> tokens) const override;
  double unigram_entropy() const override { return store_->manifest()[Split::kValidation].unigram_entropy; }

  const SampleOrder& order() const { return order_; }

 private:
  std::shared_ptr<const TokenStore> store_;
  int64_t context_;
  SampleOrder order_;
};

/// A noisy walk over the vocabulary, t[i+1] = (5 t[i] + 17 + e) mod vocabulary with e uniform in [0, 8): it
/// needs no files, and can be learned.
class RandomSource : public SampleSource {
 public:
  /// REQUIRES: vocabulary >= 1, context >= 1.
  RandomSource(int64_t vocabulary, int64_t context, uint64_t seed);

  int64_t vocabulary() const override { return vocabulary_; }
  int64_t context() const override { return context_; }
  void sample(int64_t index, std::span<int64_t> tokens) const override;
  int64_t num_validation_samples() const override { return 64; }
  void validation_sample(int64_t index, std::span<int64_t> tokens) const override;
  /// Of the uniform distribution, which the walk comes close to.
  double unigram_entropy() const override;

 private:
  void walk(uint64_t key, std::span<int64_t> tokens) const;

  int64_t vocabulary_, context_;
  uint64_t seed_;
};

}  // namespace shoal::data
