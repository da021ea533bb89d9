#include "text/word_splitter.h"

#include "base/text.h"
#include "shoal/error.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace shoal::text {
namespace {

// Unicode's White_Space. PCRE2's \s has U+180E too, which it was long ago and which the originals do not
// have.
constexpr const char* kSpaces =
    "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";

/// \s and \S as the originals mean them.
std::string with_spaces(const std::string& expression) {
  std::string written;
  bool inside = false;  // of [...]
  for (size_t at = 0; at < expression.size(); ++at) {
    const char c = expression[at];
    if (c == '\\' && at + 1 < expression.size()) {
      const char next = expression[++at];
      if (next == 's')
        written += inside ? std::string(kSpaces) : cat("[", kSpaces, "]");
      else if (next == 'S' && !inside)
        written += cat("[^", kSpaces, "]");
      else
        (written += c) += next;
      continue;
    }
    if (c == '[') inside = true;
    if (c == ']') inside = false;
    written += c;
  }
  return written;
}

struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeStack {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};
struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};

}  // namespace

struct WordSplitter::Expression {
  std::string text;
  std::unique_ptr<pcre2_code, FreeCode> code;
  bool compiled = false;  // to instructions of this machine
};

struct WordSplitter::Scratch::Impl {
  std::unique_ptr<pcre2_match_context, FreeContext> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_match_data, FreeData> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_jit_stack, FreeStack> stack{
      pcre2_jit_stack_create(size_t{32} << 10, size_t{1} << 20, nullptr)};
};

WordSplitter::Scratch::Scratch() : impl_(std::make_unique<Impl>()) {
  pcre2_jit_stack_assign(impl_->context.get(), nullptr, impl_->stack.get());
}
WordSplitter::Scratch::~Scratch() = default;

WordSplitter::WordSplitter(const std::vector<std::string>& expressions, const std::string& place)
    : place_(place) {
  for (const auto& expression : expressions) {
    const std::string written = with_spaces(expression);
    int error = 0;
    size_t offset = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(written.data()), written.size(),
                                     PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
    if (code == nullptr) {
      PCRE2_UCHAR message[256];
      pcre2_get_error_message(error, message, sizeof message);
      throw InputError(cat(place, " - expression that cuts text: got '", expression, "' (",
                           reinterpret_cast<const char*>(message), "), want a regular expression of PCRE2"));
    }
    const bool compiled = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
    expressions_.push_back({expression, std::unique_ptr<pcre2_code, FreeCode>(code), compiled});
  }
}
WordSplitter::~WordSplitter() = default;

void WordSplitter::split(std::string_view text, Scratch& scratch,
                         const std::function<void(std::string_view)>& word) const {
  split(text, 0, scratch, word);
}

void WordSplitter::split(std::string_view text, size_t from_expression, Scratch& scratch,
                         const std::function<void(std::string_view)>& word) const {
  if (text.empty()) return;
  if (from_expression == expressions_.size()) return word(text);
  const Expression& expression = expressions_[from_expression];
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t at = 0;  // up to where words have been given
  for (size_t from = 0; from < text.size();) {
    auto* data = scratch.impl_->data.get();
    auto* context = scratch.impl_->context.get();
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (expression.compiled)
      found = pcre2_jit_match(expression.code.get(), subject, text.size(), from, 0, data, context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)  // slower, on the heap
      found = pcre2_match(expression.code.get(), subject, text.size(), from,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0)
      throw InputError(cat(place_, " - expression that cuts text: got '", expression.text,
                           "', which needs more memory for this text than it may have (PCRE2 error ", found,
                           "), want a simpler one"));
    const size_t* bounds = pcre2_get_ovector_pointer(data);
    const size_t begin = bounds[0], end = bounds[1];
    if (begin >= end) {  // nothing, found between two characters: look on behind the next
      from = begin + 1;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
      continue;
    }
    if (begin > at) split(text.substr(at, begin - at), from_expression + 1, scratch, word);
    split(text.substr(begin, end - begin), from_expression + 1, scratch, word);
    at = from = end;
  }
  if (at < text.size()) split(text.substr(at), from_expression + 1, scratch, word);
}

}  // namespace shoal::text
