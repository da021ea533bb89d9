// Text cut into words by regular expressions, each applied to the words of the one before: what it finds is a
// word, and so is what lies between (https://www.pcre.org/current/doc/html/pcre2pattern.html, with UTF and
// UCP).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::text {

/// Immutable: any number of threads may use one, each with its own Scratch.
class WordSplitter {
 public:
  /// Throws InputError, which begins with `place`, where an expression is none.
  WordSplitter(const std::vector<std::string>& expressions, const std::string& place);
  ~WordSplitter();

  class Scratch {
   public:
    Scratch();
    ~Scratch();

   private:
    friend class WordSplitter;
    struct Impl;
    std::unique_ptr<Impl> impl_;
  };

  /// Calls `word` for each, in order; they are not empty and make up the text.
  /// REQUIRES: text is UTF-8. Throws InputError where an expression gives up (it needs too much memory).
  void split(std::string_view text, Scratch&, const std::function<void(std::string_view)>& word) const;

 private:
  struct Expression;
  void split(std::string_view text, size_t from_expression, Scratch&,
             const std::function<void(std::string_view)>& word) const;
  std::vector<Expression> expressions_;
  std::string place_;
};

}  // namespace shoal::text
