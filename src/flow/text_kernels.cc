// The measures of texts as functions of Arrow's, so that expressions bind and run them like any other.
#include <arrow/compute/api.h>
#include <arrow/compute/function.h>
#include <arrow/compute/kernel.h>
#include <arrow/compute/registry.h>

#include "base/text.h"
#include "flow/arrow.h"
#include "flow/text_measures.h"

namespace shoal::flow {
namespace {
namespace ac = arrow::compute;

/// Which measure a kernel is.
struct MeasureState : ac::KernelState {
  explicit MeasureState(const TextMeasure& asked) : measure(asked) {}
  const TextMeasure& measure;
};

/// For each row that is not null; what stands at the others is not looked at.
template <class Out>
arrow::Status measure_rows(ac::KernelContext* context, const ac::ExecSpan& batch, ac::ExecResult* result) {
  const TextMeasure& measure = static_cast<MeasureState&>(*context->state()).measure;
  const arrow::ArraySpan& texts = batch[0].array;
  const int32_t* const offsets = texts.GetValues<int32_t>(1);
  const char* const bytes = reinterpret_cast<const char*>(texts.buffers[2].data);
  Out* const out = result->array_span_mutable()->GetValues<Out>(1);
  for (int64_t row = 0; row < batch.length; ++row) {
    if (texts.IsNull(row)) {
      out[row] = 0;
      continue;
    }
    int64_t number = 0;
    if (batch.num_values() > 1)
      number = batch[1].is_scalar() ? batch[1].scalar_as<arrow::Int64Scalar>().value
                                    : batch[1].array.GetValues<int64_t>(1)[row];
    const std::string_view text(bytes + offsets[row], static_cast<size_t>(offsets[row + 1] - offsets[row]));
    out[row] = static_cast<Out>(measure.of(text, number));
  }
  return arrow::Status::OK();
}

}  // namespace

void register_text_measures() {
  for (const TextMeasure& measure : text_measures()) {
    std::vector<ac::InputType> inputs = {arrow::utf8()};
    if (measure.takes) inputs.push_back(arrow::int64());
    const auto function = std::make_shared<ac::ScalarFunction>(
        cat("shoal_", measure.name), ac::Arity(static_cast<int>(inputs.size())), ac::FunctionDoc::Empty());
    const ac::KernelInit init =
        [&measure](ac::KernelContext*,
                   const ac::KernelInitArgs&) -> arrow::Result<std::unique_ptr<ac::KernelState>> {
      return std::make_unique<MeasureState>(measure);
    };
    require(measure.is_count ? function->AddKernel(inputs, arrow::int64(), measure_rows<int64_t>, init)
                             : function->AddKernel(inputs, arrow::float64(), measure_rows<double>, init),
            "Arrow");
    require(ac::GetFunctionRegistry()->AddFunction(function), "Arrow");
  }
}

}  // namespace shoal::flow
