// Between a Node's arguments and LibTorch's IValues.
#pragma once

#include <ATen/core/ivalue.h>

#include <functional>

#include "graph/graph.h"

namespace shoal::graph {

/// `value_of` names the Value of a tensor. Throws InputError for kinds of argument that a Graph cannot hold.
Argument from_ivalue(const c10::IValue& value, const c10::TypePtr& type,
                     const std::function<ValueId(const at::Tensor&)>& value_of);

/// `tensor_of` gives the tensor of a Value; `device` stands in for DeviceArgument.
c10::IValue to_ivalue(const Argument& argument, const std::function<at::Tensor(ValueId)>& tensor_of,
                      c10::Device device);

/// Calls take(id, tensor) for each of a node's values among what its operator returned; what nobody reads, and
/// what is no tensor, is passed over.
template <class Take>
void for_each_result(const Node& node, c10::ArrayRef<c10::IValue> returned, Take&& take) {
  size_t next = 0;
  const auto one = [&](const at::Tensor& tensor) {
    if (const ValueId id = node.results.at(next++); id != kNoValue) take(id, tensor);
  };
  for (const c10::IValue& value : returned) {
    if (value.isTensor())
      one(value.toTensor());
    else if (value.isTensorList())
      for (const at::Tensor& tensor : value.toTensorList()) one(tensor);
    else
      ++next;
  }
}

}  // namespace shoal::graph
