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

}  // namespace shoal::graph
