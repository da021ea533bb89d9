#include "graph/operator.h"

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::graph {

std::string operator_text(const c10::OperatorName& name) {
  return name.overload_name.empty() ? name.name : cat(name.name, ".", name.overload_name);
}

c10::OperatorHandle operator_handle(const std::string& name) {
  const size_t dot = name.find('.', name.find("::"));
  const c10::OperatorName key(name.substr(0, dot), dot == std::string::npos ? "" : name.substr(dot + 1));
  const auto handle = c10::Dispatcher::singleton().findSchema(key);
  if (!handle) throw InputError(cat("operator ", name, " - unknown: this LibTorch has none of that name"));
  return *handle;
}

bool is_view(const Node& node) {
  const c10::OperatorHandle op = operator_handle(node.op);
  const auto& arguments = op.schema().arguments();
  if (arguments.empty() || op.schema().returns().size() != 1) return false;
  const auto* from = arguments[0].alias_info();
  return from != nullptr && !from->isWrite() && op.schema().returns()[0].alias_info() != nullptr;
}

ValueId memory_source(const Node& node) {
  ValueId source = kNoValue;
  if (is_view(node) || node.op == "aten::_unsafe_view")
    for_each_input(node, [&](ValueId id) { source = source == kNoValue ? id : source; });
  return source;
}

}  // namespace shoal::graph
