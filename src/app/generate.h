// Text from a checkpoint of a gpt or llama that was trained on bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"

namespace shoal::app {

struct GenerateOptions {
  int64_t tokens = 200;    // at most; the end of the document ends the text before that
  double temperature = 0;  // 0: always the likeliest token
  int64_t top_k = 0;       // sample among this many likeliest tokens; 0: among all
  uint64_t seed = 1;
};

/// Which of `logits` comes next. Temperature 0: the largest, the first of equals. Else sampled: `unit` in [0,
/// 1) picks from the softmax of logits / temperature, worked out in double, in order of likelihood; it falls
/// into the same token whatever computes it.
int64_t choose_token(std::vector<double> logits, const GenerateOptions&, double unit);

/// A model that continues text. Each prompt is computed alone, always on the shape [1, context], so that its
/// text depends neither on the other prompts nor on the number of devices. Not thread-safe.
class TextModel {
 public:
  /// Reads the checkpoint's manifest. Throws InputError when it is no checkpoint, or not one of a model that
  /// knows text.
  explicit TextModel(const std::filesystem::path& checkpoint);
  ~TextModel();
  TextModel(TextModel&&) noexcept;

  /// Reads the weights and captures the model; generate() does so when needed.
  void load();

  /// What follows `prompt`, as bytes. Only the last `context` tokens are looked at. Random numbers are keyed
  /// by (seed, prompt number, position). REQUIRES: prompt is not empty.
  std::string generate(const std::string& prompt, int64_t number, const GenerateOptions&);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Collective: divides the prompts over the devices; on rank 0 returns what follows each, in order, elsewhere
/// nothing.
std::vector<std::string> generate_all(comm::Group&, TextModel&,
                                      const std::vector<std::string>& prompts, const GenerateOptions&);

}  // namespace shoal::app
