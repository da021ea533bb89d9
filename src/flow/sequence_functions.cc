#include "flow/sequence_functions.h"

#include <arrow/compute/api.h>
#include <arrow/compute/exec.h>
#include <arrow/compute/function.h>
#include <arrow/compute/kernel.h>

#include <array>
#include <cmath>
#include <optional>

#include "base/text.h"
#include "flow/arrow.h"

namespace shoal::flow {
namespace {
namespace ac = arrow::compute;

constexpr char kLeast = '!', kMost = '~';  // Phred scores 0 to 93

/// Texts in, one value of the builder for each; null of null.
template <class Builder, class OfText>
arrow::Status for_each_text(ac::KernelContext* context, const ac::ExecSpan& batch, ac::ExecResult* out,
                            const OfText& of_text) {
  const arrow::StringArray texts(batch[0].array.ToArrayData());
  Builder builder(context->memory_pool());
  for (int64_t row = 0; row < texts.length(); ++row)
    ARROW_RETURN_NOT_OK(texts.IsNull(row) ? builder.AppendNull() : of_text(builder, texts.GetView(row)));
  std::shared_ptr<arrow::Array> values;
  ARROW_RETURN_NOT_OK(builder.Finish(&values));
  out->value = values->data();
  return arrow::Status::OK();
}

arrow::Status check_qualities(std::string_view quality) {
  for (const char c : quality)
    if (c < kLeast || c > kMost)
      return arrow::Status::Invalid("quality: got '", std::string(quality), "', want characters from ! to ~");
  return arrow::Status::OK();
}

arrow::Status mean_quality(ac::KernelContext* context, const ac::ExecSpan& batch, ac::ExecResult* out) {
  return for_each_text<arrow::DoubleBuilder>(
      context, batch, out, [](arrow::DoubleBuilder& builder, std::string_view quality) {
        ARROW_RETURN_NOT_OK(check_qualities(quality));
        if (quality.empty()) return builder.AppendNull();
        int64_t sum = 0;
        for (const char c : quality) sum += c - kLeast;
        return builder.Append(static_cast<double>(sum) / static_cast<double>(quality.size()));
      });
}

arrow::Status expected_errors(ac::KernelContext* context, const ac::ExecSpan& batch, ac::ExecResult* out) {
  static const auto kWrong = [] {  // by score
    std::array<double, kMost - kLeast + 1> chance{};
    for (size_t score = 0; score < chance.size(); ++score)
      chance[score] = std::pow(10.0, -0.1 * static_cast<double>(score));
    return chance;
  }();
  return for_each_text<arrow::DoubleBuilder>(context, batch, out,
                                             [](arrow::DoubleBuilder& builder, std::string_view quality) {
                                               ARROW_RETURN_NOT_OK(check_qualities(quality));
                                               double errors = 0;
                                               for (const char c : quality)
                                                 errors += kWrong[static_cast<size_t>(c - kLeast)];
                                               return builder.Append(errors);
                                             });
}

/// Of each character, 0 where it is no base.
std::array<char, 256> complements() {
  std::array<char, 256> of{};
  constexpr std::string_view kFrom = "ACGTURYKMSWBDHVNacgturykmswbdhvn";
  constexpr std::string_view kTo = "TGCAAYRMKSWVHDBNtgcaayrmkswvhdbn";
  for (size_t i = 0; i < kFrom.size(); ++i) of[static_cast<unsigned char>(kFrom[i])] = kTo[i];
  return of;
}

arrow::Status reverse_complement(ac::KernelContext* context, const ac::ExecSpan& batch, ac::ExecResult* out) {
  static const std::array<char, 256> kComplement = complements();
  std::string other;
  return for_each_text<arrow::StringBuilder>(
      context, batch, out, [&](arrow::StringBuilder& builder, std::string_view sequence) {
        other.clear();
        for (size_t i = sequence.size(); i-- > 0;) {
          other.push_back(kComplement[static_cast<unsigned char>(sequence[i])]);
          if (other.back() == 0)
            return arrow::Status::Invalid("sequence: got '", std::string(sequence),
                                          "', want bases, or IUPAC's letters for several");
        }
        return builder.Append(other);
      });
}

}  // namespace

void add_sequence_functions(ac::FunctionRegistry* registry) {
  const auto add = [&](const char* name, std::shared_ptr<arrow::DataType> gives, ac::ArrayKernelExec kernel) {
    auto function = std::make_shared<ac::ScalarFunction>(name, ac::Arity::Unary(), ac::FunctionDoc::Empty());
    ac::ScalarKernel exec({arrow::utf8()}, gives, kernel);
    exec.null_handling = ac::NullHandling::COMPUTED_NO_PREALLOCATE;
    exec.mem_allocation = ac::MemAllocation::NO_PREALLOCATE;
    require(function->AddKernel(std::move(exec)), name);
    require(registry->AddFunction(std::move(function)), name);
  };
  add("shoal_mean_quality", arrow::float64(), mean_quality);
  add("shoal_expected_errors", arrow::float64(), expected_errors);
  add("shoal_reverse_complement", arrow::utf8(), reverse_complement);
}

}  // namespace shoal::flow
