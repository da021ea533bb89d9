// Answers in a file, a line of JSON for each, in the order of the prompts. A run that was killed goes on
// after the last whole line.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "app/generate.h"

namespace shoal::app {

class AnswersFile {
 public:
  /// Opens or makes it. `keys[i]` stands for all that decides answer i; the lines that are there must have
  /// the keys of the first prompts. Throws InputError where they have others, or where it cannot be opened.
  AnswersFile(const std::filesystem::path&, const std::vector<std::string>& keys);
  ~AnswersFile();
  AnswersFile(const AnswersFile&) = delete;
  AnswersFile& operator=(const AnswersFile&) = delete;

  size_t lines() const { return lines_; }
  /// The next answer, on the disk when it returns. Throws JobError where it cannot be written.
  void add(const std::string& prompt, const Generated&);

 private:
  std::string path_;
  const std::vector<std::string> keys_;
  size_t lines_ = 0;
  int descriptor_ = -1;
};

}  // namespace shoal::app
