#include "ops/rules.h"

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "base/text.h"
#include "graph/operator.h"
#include "shoal/error.h"
#include "shoal/rule.h"

namespace shoal::ops {
namespace {

bool holds_tensors(const c10::TypePtr& type) {
  if (type->kind() == c10::TypeKind::TensorType) return true;
  if (const auto optional = type->cast<c10::OptionalType>()) return holds_tensors(optional->getElementType());
  if (const auto list = type->cast<c10::ListType>()) return holds_tensors(list->getElementType());
  return false;
}

class Resolver {
 public:
  explicit Resolver(const Rule& rule)
      : rule_(rule), handle_(graph::operator_handle(rule.op)), schema_(handle_.schema()) {}

  std::vector<int> tensor_arguments() const {
    std::vector<int> found;
    for (size_t i = 0; i < schema_.arguments().size(); ++i)
      if (holds_tensors(schema_.arguments()[i].type())) found.push_back(static_cast<int>(i));
    return found;
  }

  int position(const std::string& name) const {
    for (size_t i = 0; i < schema_.arguments().size(); ++i)
      if (schema_.arguments()[i].name() == name) return static_cast<int>(i);
    std::vector<std::string> names;
    for (const auto& argument : schema_.arguments()) names.push_back(argument.name());
    throw InputError(
        cat("rule of ", rule_.op, " - arguments: got ", name, ", want one of ", join(names, ", ")));
  }

  void resolve(Form& form) const {
    const size_t inputs = tensor_arguments().size(), outputs = schema_.returns().size();
    if (form.inputs.size() != inputs)
      throw InputError(cat("rule of ", rule_.op, " - inputs: got ", form.inputs.size(), " terms, want ",
                           inputs, ": one for each tensor argument of its schema"));
    if (form.outputs.size() != outputs)
      throw InputError(cat("rule of ", rule_.op, " - results: got ", form.outputs.size(), " terms, want ",
                           outputs, ": one for each result of its schema"));
    for (std::vector<Term>* terms : {&form.inputs, &form.outputs})
      for (Term& term : *terms) resolve(term);
    for (Condition& condition : form.conditions) condition.argument = position(condition.argument_name);
    for (SizeArgument& size : form.sizes) {
      size.argument = position(size.argument_name);
      resolve(size.term);
    }
    for (Start& start : form.starts) start.argument = position(start.argument_name);
    for (const std::vector<int>& group : form.linear)
      for (int input : group)
        if (input >= static_cast<int>(inputs))
          throw InputError(
              cat("rule of ", rule_.op, " - linear: got input ", input, ", want one below ", inputs));
    form.permute.clear();
    for (const std::string& name : form.permute_names) form.permute.push_back(position(name));
    form.without.clear();
    for (const std::string& name : form.without_names) form.without.push_back(position(name));
  }

 private:
  void resolve(Term& term) const {
    for (Place& place : term.places) place.argument = position(place.argument_name);
  }

  const Rule& rule_;
  c10::OperatorHandle handle_;
  const c10::FunctionSchema& schema_;
};

class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  const Rule* find(const std::string& op) {
    {
      const std::shared_lock lock(mutex_);
      const auto found = ready_.find(op);
      if (found != ready_.end()) return &found->second;
    }
    const std::unique_lock lock(mutex_);
    const auto text = texts_.find(op);
    if (text == texts_.end()) return nullptr;
    const auto found = ready_.find(op);
    if (found != ready_.end()) return &found->second;
    Rule rule = parse_rule(op, text->second);
    resolve(rule);
    return &ready_.emplace(op, std::move(rule)).first->second;
  }

  bool contains(const std::string& op) {
    const std::shared_lock lock(mutex_);
    return texts_.contains(op);
  }

  std::vector<std::string> operators() {
    const std::shared_lock lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [op, text] : texts_) names.push_back(op);
    std::sort(names.begin(), names.end());
    return names;
  }

  void add(const std::string& op, const std::string& text) {
    const std::unique_lock lock(mutex_);
    const auto [row, added] = texts_.emplace(op, text);
    if (!added && row->second != text)
      throw InputError(cat("rule of ", op, " - got a second one, \"", text, "\"; it has \"", row->second,
                           "\"; leave one of them out"));
  }

 private:
  Registry() {
    for (const Table table :
         {attention_table(), convolution_table(), factory_table(), indexing_table(), loss_table(),
          matmul_table(), normalisation_table(), padding_table(), pointwise_table(), pooling_table(),
          random_table(), reduction_table(), resampling_table(), shape_table(), vocabulary_table()})
      for (const Row& row : table) add(row.op, row.rule);
  }

  std::shared_mutex mutex_;
  std::unordered_map<std::string, std::string> texts_;
  std::unordered_map<std::string, Rule> ready_;
};

}  // namespace

void resolve(Rule& rule) {
  const Resolver resolver(rule);
  rule.tensor_arguments = resolver.tensor_arguments();
  for (Form& form : rule.forms) resolver.resolve(form);
}

const Rule* rule_of(const std::string& op) { return Registry::instance().find(op); }

bool has_rule(const std::string& op) { return Registry::instance().contains(op); }

std::vector<std::string> operators_with_rules() { return Registry::instance().operators(); }

}  // namespace shoal::ops

namespace shoal {

void register_rule(const std::string& op, const std::string& rule) {
  ops::parse_rule(op, rule);  // what is wrong with the text is said here, not when it is first needed
  ops::Registry::instance().add(op, rule);
}

}  // namespace shoal
