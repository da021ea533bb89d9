#include "graph/ivalue.h"

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::graph {
namespace {

bool is_optional_tensor_list(const c10::TypePtr& type) {
  const auto list = type->cast<c10::ListType>();
  return list && list->getElementType()->kind() == c10::OptionalType::Kind;
}

}  // namespace

Argument from_ivalue(const c10::IValue& value, const c10::TypePtr& type,
                     const std::function<ValueId(const at::Tensor&)>& value_of) {
  if (value.isNone()) return None{};
  if (value.isTensor()) {
    if (!value.toTensor().defined()) return Tensor{kNoValue};
    return Tensor{value_of(value.toTensor())};
  }
  if (value.isDevice()) return DeviceArgument{};
  if (value.isBool()) return value.toBool();
  if (value.isInt()) return value.toInt();
  if (value.isDouble()) return value.toDouble();
  if (value.isString()) return value.toStringRef();
  if (value.isBoolList()) {
    const auto list = value.toBoolList();
    return std::vector<bool>(list.begin(), list.end());
  }
  if (value.isIntList()) return value.toIntVector();
  if (value.isDoubleList()) return value.toDoubleVector();
  if (value.isTensorList() || value.isOptionalTensorList() || is_optional_tensor_list(type)) {
    TensorList list{{}, is_optional_tensor_list(type)};
    for (const c10::IValue& item : value.toListRef())
      list.ids.push_back(item.isTensor() && item.toTensor().defined() ? value_of(item.toTensor()) : kNoValue);
    return list;
  }
  throw InputError(cat("capture - argument: got a ", value.tagKind(),
                       ", want tensors, numbers, truth values, strings or lists of them"));
}

namespace {

struct ToIValue {
  const std::function<at::Tensor(ValueId)>& tensor_of;
  c10::Device device;

  c10::IValue operator()(None) const { return {}; }
  c10::IValue operator()(Tensor tensor) const {
    return tensor.id == kNoValue ? at::Tensor() : tensor_of(tensor.id);
  }
  c10::IValue operator()(const TensorList& list) const {
    if (list.optional) {
      c10::List<std::optional<at::Tensor>> tensors;
      for (ValueId id : list.ids)
        tensors.push_back(id == kNoValue ? std::nullopt : std::optional<at::Tensor>(tensor_of(id)));
      return tensors;
    }
    c10::List<at::Tensor> tensors;
    for (ValueId id : list.ids) tensors.push_back(tensor_of(id));
    return tensors;
  }
  c10::IValue operator()(DeviceArgument) const { return device; }
  c10::IValue operator()(const std::vector<bool>& list) const {
    c10::List<bool> values;
    for (bool item : list) values.push_back(item);
    return values;
  }
  template <class T>
  c10::IValue operator()(const T& value) const {
    return c10::IValue(value);
  }
};

}  // namespace

c10::IValue to_ivalue(const Argument& argument, const std::function<at::Tensor(ValueId)>& tensor_of,
                      c10::Device device) {
  return std::visit(ToIValue{tensor_of, device}, argument);
}

}  // namespace shoal::graph
