// A call written as text ("aten::mm(f[4,6], f[6,2])", the notation of samples.h) becomes a node with its
// tensors, and runs.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>
#include <torch/torch.h>

#include <string>
#include <vector>

#include "base/text.h"
#include "graph/graph.h"
#include "graph/ivalue.h"
#include "graph/operator.h"
#include "kernels/cpu/kernels.h"
#include "shoal/error.h"

namespace shoal::ops {

/// A node alone in its graph, and the tensors of its inputs and results; undefined where there is none.
struct Call {
  graph::Graph graph;
  graph::Node node;
  std::vector<at::Tensor> inputs;   // as graph::for_each_input
  std::vector<at::Tensor> outputs;  // as Node::results
};

/// Runs a node on tensors given in the order of graph::for_each_input.
inline std::vector<at::Tensor> run_node(const graph::Node& node, const std::vector<at::Tensor>& inputs) {
  const c10::InferenceMode no_autograd;
  size_t next = 0;
  std::string op = node.op;
  torch::jit::Stack stack;
  for (const graph::Argument& argument : node.arguments)
    stack.push_back(graph::to_ivalue(
        argument, [&](graph::ValueId) { return inputs.at(next++); }, at::kCPU));
  // The CPU has these under other names.
  if (op == "aten::convolution_overrideable") op = "aten::convolution";
  if (op == "aten::convolution_backward_overrideable") {
    op = "aten::convolution_backward";
    stack.insert(stack.begin() + 3, std::vector<int64_t>{stack[0].toTensor().size(1)});
  }
  if (const kernels::Kernel kernel = kernels::find_kernel(op))
    kernel(stack, {{1, 2, 3}, 0});
  else
    graph::operator_handle(op).callBoxed(stack);
  std::vector<at::Tensor> results;
  for (const c10::IValue& result : stack) {
    if (result.isTensorList())
      for (const at::Tensor& tensor : result.toTensorList()) results.push_back(tensor);
    else
      results.push_back(result.isTensor() ? result.toTensor() : at::Tensor());
  }
  return results;
}

class CallParser {
 public:
  /// Floating tensors are of `dtype`; an integer type gives whole numbers.
  CallParser(const std::string& text, at::ScalarType dtype) : text_(text), dtype_(dtype) {
    generator_ = at::make_generator<at::CPUGeneratorImpl>(7);
  }

  Call parse() {
    Call call;
    const size_t open = text_.find('(');
    call.node.op = text_.substr(0, open);
    at_ = open + 1;
    const c10::OperatorHandle handle = graph::operator_handle(call.node.op);
    const auto& arguments = handle.schema().arguments();
    std::vector<std::optional<c10::IValue>> values(arguments.size());
    for (size_t position = 0; !accept(")");) {
      const size_t name_end = text_.find_first_of("=,()[]{}\"", at_);
      size_t target = position;
      if (text_[name_end] == '=') {
        const std::string name = text_.substr(at_, name_end - at_);
        for (target = 0; target < arguments.size() && arguments[target].name() != name;) ++target;
        at_ = name_end + 1;
      } else {
        ++position;
      }
      if (target >= arguments.size())
        throw InputError(cat("sample ", text_, " - too many arguments, or one of another name"));
      values[target] = value(arguments[target].type());
      accept(",");
    }
    for (size_t i = 0; i < arguments.size(); ++i) {
      if (!values[i]) values[i] = arguments[i].default_value().value_or(c10::IValue());
      call.node.arguments.push_back(
          graph::from_ivalue(*values[i], arguments[i].type(), [&](const at::Tensor& tensor) {
            call.inputs.push_back(tensor);
            return call.graph.add_value(graph::type_of(tensor));
          }));
    }
    call.outputs = run_node(call.node, call.inputs);
    for (const at::Tensor& output : call.outputs)
      call.node.results.push_back(output.defined() ? call.graph.add_value(graph::type_of(output))
                                                   : graph::kNoValue);
    return call;
  }

 private:
  c10::IValue value(const c10::TypePtr& type) {
    skip();
    const char c = text_.at(at_);
    if (c == '[') return list(type);
    if (c == '{') return tensors(type);
    if (c == '"') {
      const size_t end = text_.find('"', at_ + 1);
      const std::string word = text_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
      return word;
    }
    if (accept("none")) return {};
    if (accept("undefined")) return at::Tensor();
    if (accept("true")) return true;
    if (accept("false")) return false;
    if (std::isalpha(static_cast<unsigned char>(c))) return tensor();
    return number(type->kind() == c10::TypeKind::FloatType);
  }

  c10::IValue number(bool floating) {
    size_t end = text_.find_first_of(",)]}", at_);
    const std::string word = text_.substr(at_, end - at_);
    at_ = end;
    if (floating || word.find_first_of(".e") != std::string::npos) return std::stod(word);
    return static_cast<int64_t>(std::stoll(word));
  }

  c10::IValue list(const c10::TypePtr&) {
    std::vector<int64_t> numbers;
    std::vector<bool> flags;
    for (accept("["); !accept("]"); accept(",")) {
      skip();
      if (accept("true"))
        flags.push_back(true);
      else if (accept("false"))
        flags.push_back(false);
      else
        numbers.push_back(number(false).toInt());
    }
    if (flags.empty()) return numbers;
    c10::List<bool> result;
    for (bool flag : flags) result.push_back(flag);
    return result;
  }

  c10::IValue tensors(const c10::TypePtr& type) {
    const auto list = type->cast<c10::ListType>();
    const bool optional = list && list->getElementType()->kind() == c10::OptionalType::Kind;
    c10::List<std::optional<at::Tensor>> maybe;
    c10::List<at::Tensor> all;
    for (accept("{"); !accept("}"); accept(",")) {
      skip();
      if (accept("none")) {
        maybe.push_back(std::nullopt);
      } else {
        const at::Tensor item = tensor().toTensor();
        maybe.push_back(item);
        all.push_back(item);
      }
    }
    if (optional) return maybe;
    return all;
  }

  c10::IValue tensor() {
    const char kind = text_[at_++];
    int64_t below = 0;
    while (std::isdigit(static_cast<unsigned char>(text_[at_]))) below = 10 * below + (text_[at_++] - '0');
    const auto shape = list(nullptr).toIntVector();
    const auto real = [&](double low, double high) {
      const auto wide = at::rand(shape, generator_, at::kDouble) * (high - low) + low;
      return at::isIntegralType(dtype_, true) ? (wide * 4).round().clamp_min(1).to(dtype_) : wide.to(dtype_);
    };
    switch (kind) {
      case 'f': {
        const auto wide = at::randn(shape, generator_, at::kDouble);
        return at::isIntegralType(dtype_, true) ? (wide * 3).round().to(dtype_) : wide.to(dtype_);
      }
      case 't': {
        auto turned = shape;
        std::swap(turned[0], turned[1]);
        return at::randn(turned, generator_, at::kDouble).to(dtype_).t();
      }
      case 'p':
        return real(0.2, 0.8);
      case 'g':
        return real(1.2, 1.8);
      case 'b':
        return at::rand(shape, generator_, at::kDouble) < 0.5;
      case 'i':
        return at::randint(below, shape, generator_, at::kLong);
      case 'o': {
        at::Tensor offsets = std::get<0>(at::randint(below, shape, generator_, at::kLong).sort());
        offsets[0].fill_(0);
        return offsets;
      }
      case 'u':
      case 'j': {  // each row a shuffle of the numbers below
        std::vector<at::Tensor> rows;
        const int64_t last = shape.back();
        int64_t count = 1;
        for (size_t i = 0; i + 1 < shape.size(); ++i) count *= shape[i];
        for (int64_t row = 0; row < count; ++row)
          rows.push_back(at::randperm(below, generator_, at::kLong).narrow(0, 0, last));
        return at::stack(rows).view(shape);
      }
      default:
        throw InputError(cat("sample ", text_, " - got a tensor of kind ", kind));
    }
  }

  void skip() {
    while (text_.at(at_) == ' ') ++at_;
  }
  bool accept(std::string_view token) {
    skip();
    if (text_.compare(at_, token.size(), token) != 0) return false;
    at_ += token.size();
    if (token == ",") skip();
    return true;
  }

  std::string text_;
  at::ScalarType dtype_;
  at::Generator generator_;
  size_t at_ = 0;
};

}  // namespace shoal::ops
