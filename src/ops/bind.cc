#include "ops/bind.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::ops {
namespace {

using graph::Argument;
using graph::kNoValue;
using Shape = std::vector<int64_t>;

bool holds(const Condition& condition, const Argument& argument) {
  if (const auto* flag = std::get_if<bool>(&argument)) return condition.value == (*flag ? "true" : "false");
  if (const auto* number = std::get_if<int64_t>(&argument)) return condition.value == std::to_string(*number);
  if (const auto* number = std::get_if<double>(&argument)) {
    double value = 0;  // "none" is no number
    const char* const end = condition.value.data() + condition.value.size();
    const auto [stop, error] = std::from_chars(condition.value.data(), end, value);
    return error == std::errc() && stop == end && value == *number;
  }
  if (const auto* word = std::get_if<std::string>(&argument)) return condition.value == *word;
  if (const auto* numbers = std::get_if<Shape>(&argument))
    return condition.value == cat("[", join(*numbers, ","), "]");
  return condition.value == "none" && std::holds_alternative<graph::None>(argument);
}

// One attempt to lay a form over a node. Every step returns false when it does not fit.
class Binder {
 public:
  Binder(const Rule& rule, const Form& form, const graph::Graph& graph, const graph::Node& node)
      : rule_(rule), form_(form), graph_(graph), node_(node) {
    block_ranks_.fill(-1);
    binding_.form = &form;
  }

  bool bind() {
    for (const Condition& condition : form_.conditions)
      if (!holds(condition, argument(condition.argument))) return false;
    list_tensors();
    if (!form_.inputs.empty() && form_.inputs[0].flat) {
      binding_.flat = true;
      return true;
    }
    find_block_ranks();
    for (auto& input : binding_.inputs)
      if (!input.term->absent && !assign(*input.term, *input.shape, can_broadcast(input), input.dims))
        return false;
    if (!form_.permute.empty()) {
      if (!permute()) return false;
    } else {
      for (auto& output : binding_.outputs)
        if (output.shape && !output.term->absent && !assign(*output.term, *output.shape, false, output.dims))
          return false;
    }
    for (auto& size : binding_.sizes)
      if (!size.size->term.flat && !size.values.empty() &&
          !assign(size.size->term, size.values, true, size.dims))
        return false;
    agree();
    return true;
  }

  Binding take() { return std::move(binding_); }

 private:
  const Argument& argument(int position) const { return node_.arguments[static_cast<size_t>(position)]; }

  bool can_broadcast(const BoundTensor& tensor) const {
    return form_.broadcast_all || tensor.term->added || form_.broadcast_input == tensor.term_index;
  }

  void list_tensors() {
    for (size_t i = 0; i < form_.inputs.size(); ++i) {
      const auto add = [&](graph::ValueId id) {
        if (id != kNoValue)
          binding_.inputs.push_back({&form_.inputs[i], static_cast<int>(i), &graph_.type(id).shape, {}});
      };
      const Argument& argument = this->argument(rule_.tensor_arguments[i]);
      if (const auto* tensor = std::get_if<graph::Tensor>(&argument)) add(tensor->id);
      if (const auto* list = std::get_if<graph::TensorList>(&argument)) {
        for (graph::ValueId id : list->ids) add(id);
        list_size_ = static_cast<int64_t>(list->ids.size());
      }
    }
    const bool list = form_.outputs.size() == 1 && form_.outputs[0].list;
    if (list) list_size_ = static_cast<int64_t>(node_.results.size());
    for (size_t i = 0; i < node_.results.size(); ++i) {
      const size_t term = list ? 0 : std::min(i, form_.outputs.size() - 1);
      const graph::ValueId id = node_.results[i];
      binding_.outputs.push_back({&form_.outputs[term],
                                  static_cast<int>(term),
                                  id == kNoValue ? nullptr : &graph_.type(id).shape,
                                  {}});
    }
    for (const SizeArgument& size : form_.sizes) {
      const Argument& argument = this->argument(size.argument);
      BoundSize bound{&size, {}, {}};
      if (const auto* number = std::get_if<int64_t>(&argument)) bound.values = {*number};
      if (const auto* list = std::get_if<std::vector<int64_t>>(&argument)) bound.values = *list;
      binding_.sizes.push_back(std::move(bound));
    }
  }

  // The rank of each block: that of the longest term in which it is the only one; then "..." beside another.
  void find_block_ranks() {
    const auto visit = [&](const Term& term, size_t rank, bool second) {
      Symbol block = 0;
      int64_t left = static_cast<int64_t>(rank);
      bool dots_beside = false;
      for (Symbol symbol : term.symbols) {
        if (!is_block(symbol)) {
          --left;
        } else if (block != 0) {
          const Symbol other = symbol == kDots ? block : symbol;
          block = kDots;
          dots_beside = true;
          left -= std::max<int64_t>(block_ranks_[static_cast<size_t>(other)], 0);
        } else {
          block = symbol;
        }
      }
      if (block == 0 || dots_beside != second) return;
      for (const Place& place : term.places)
        if (place.symbol != kOne) left -= static_cast<int64_t>(positions(place, rank).size());
      auto& known = block_ranks_[static_cast<size_t>(block)];
      known = std::max(known, left);
    };
    for (const bool second : {false, true}) {
      for (const auto& size : binding_.sizes)
        if (!size.size->term.flat && !size.size->term.list)
          visit(size.size->term, size.values.size(), second);
      for (const auto& input : binding_.inputs) visit(*input.term, input.shape->size(), second);
      // What only results have. An input says more about a reduction: its result may keep dims of size 1.
      for (const auto& output : binding_.outputs)
        if (output.shape)
          for (Symbol symbol : output.term->symbols)
            if (is_block(symbol) && (form_.broadcast_all || block_ranks_[static_cast<size_t>(symbol)] < 0))
              visit(*output.term, output.shape->size(), second);
    }
  }

  // The dims that a place names in a tensor of this rank, in the argument's order.
  std::vector<size_t> positions(const Place& place, size_t rank) const {
    const Argument& argument = this->argument(place.argument);
    std::vector<size_t> found;
    const auto add = [&](int64_t dim) {
      const int64_t wrapped = dim < 0 ? dim + static_cast<int64_t>(rank) : dim;
      if (wrapped >= 0 && wrapped < static_cast<int64_t>(rank)) found.push_back(static_cast<size_t>(wrapped));
    };
    if (const auto* dim = std::get_if<int64_t>(&argument)) {
      add(*dim);
    } else if (const auto* numbers = std::get_if<std::vector<int64_t>>(&argument); numbers && place.pairs) {
      for (size_t i = 0; i < numbers->size(); ++i)
        if ((*numbers)[i] != 0 && (i % 2 == 0 || (*numbers)[i - 1] == 0))
          add(-1 - static_cast<int64_t>(i / 2));
    } else if (const auto* list = std::get_if<graph::TensorList>(&argument)) {
      for (size_t i = 0; i < list->ids.size(); ++i)
        if (list->ids[i] != kNoValue) found.push_back(i);
      if (is_block(place.symbol) &&
          !found.empty()) {  // the indices' own dims: at the first if adjacent, else in front
        const bool adjacent = found.back() - found.front() + 1 == found.size();
        const size_t first = adjacent ? found.front() : 0;
        found.resize(
            static_cast<size_t>(std::max<int64_t>(block_ranks_[static_cast<size_t>(place.symbol)], 0)));
        std::iota(found.begin(), found.end(), first);
      }
    } else {
      if (const auto* dims = std::get_if<std::vector<int64_t>>(&argument))
        for (int64_t dim : *dims) add(dim);
      if (found.empty())
        for (size_t dim = 0; dim < rank; ++dim) found.push_back(dim);
    }
    return found;
  }

  int factor(Symbol symbol, int64_t index) {
    auto& factors = binding_.factors;
    for (size_t i = 0; i < factors.size(); ++i)
      if (factors[i].symbol == symbol && factors[i].index == index) return static_cast<int>(i);
    const Combine combine = form_.combine[static_cast<size_t>(symbol)];
    factors.push_back({symbol, static_cast<int16_t>(index), 0,
                       combine != Combine::kWhole && combine != Combine::kKept && symbol != kOne, false});
    return static_cast<int>(factors.size()) - 1;
  }

  bool assign(const Term& term, const Shape& shape, bool broadcast, std::vector<BoundDim>& dims) {
    const size_t rank = shape.size();
    dims.resize(rank);
    if (term.list && term.symbols.size() == 1 && is_size_list(term, shape)) {
      for (BoundDim& dim : dims) dim.factor = factor(term.symbols[0], 0);
      return true;
    }
    std::vector<bool> taken(rank, false);
    size_t num_taken = 0;
    const int64_t dots = std::max<int64_t>(block_ranks_[static_cast<size_t>(kDots)], 0);
    for (const Place& place : term.places) {
      if (place.symbol == kOne &&
          static_cast<int64_t>(rank) <= dots + static_cast<int64_t>(term.symbols.size()) - 1)
        continue;  // dropped
      const auto named = positions(place, rank);
      for (size_t i = 0; i < named.size(); ++i) {
        if (named[i] >= rank || taken[named[i]]) return false;
        taken[named[i]] = true;
        ++num_taken;
        const int64_t index =
            is_block(place.symbol) ? static_cast<int64_t>(named.size() - 1 - i) : static_cast<int64_t>(i);
        dims[named[i]] = {factor(place.symbol, index), place.times_list ? list_size_ : place.times, false};
      }
    }
    // The dims that are left, from the right: letters one each, a block what it has.
    int64_t left = static_cast<int64_t>(rank - num_taken);
    int64_t letters = 0, other_block = 0;
    bool has_dots = false;
    Symbol only = 0;
    for (Symbol symbol : term.symbols) {
      if (!is_block(symbol)) ++letters;
      if (symbol == kDots) has_dots = true;
      if (is_block(symbol)) only = only == 0 || only == kDots ? symbol : only;
    }
    if (has_dots && only != kDots)
      other_block = std::max<int64_t>(block_ranks_[static_cast<size_t>(only)], 0);
    const bool has_block = only != 0;
    if (!broadcast && left < letters + other_block) return false;
    if (!has_block && left > letters) return false;
    const int64_t flexible = std::max<int64_t>(left - letters - other_block, 0);
    if (has_block && !broadcast) {  // equal to what the others have
      const Symbol block = has_dots ? kDots : only;
      if (flexible != std::max<int64_t>(block_ranks_[static_cast<size_t>(block)], 0)) return false;
    }
    size_t dim = rank;
    const auto next = [&]() -> bool {
      while (dim > 0 && taken[dim - 1]) --dim;
      if (dim == 0) return false;
      --dim;
      return true;
    };
    for (size_t s = term.symbols.size(); s-- > 0;) {
      const Symbol symbol = term.symbols[s];
      const int64_t count = !is_block(symbol) ? 1 : (symbol == kDots || !has_dots) ? flexible : other_block;
      for (int64_t i = 0; i < count; ++i) {
        if (!next()) return broadcast;
        dims[dim] = {factor(symbol, is_block(symbol) ? i : 0), 1, false};
      }
    }
    return true;
  }

  bool is_size_list(const Term& term, const Shape& shape) const {
    for (const auto& size : binding_.sizes)
      if (&size.size->term == &term && &size.values == &shape) return true;
    return false;
  }

  bool permute() {
    if (binding_.inputs.size() != 1 || binding_.outputs.size() != 1 || !binding_.outputs[0].shape)
      return false;
    const auto& from = binding_.inputs[0].dims;
    auto& to = binding_.outputs[0].dims;
    const int64_t rank = static_cast<int64_t>(from.size());
    const auto wrap = [&](int64_t dim) { return static_cast<size_t>(dim < 0 ? dim + rank : dim); };
    to = from;
    if (form_.permute.size() == 2) {
      const auto* a = std::get_if<int64_t>(&argument(form_.permute[0]));
      const auto* b = std::get_if<int64_t>(&argument(form_.permute[1]));
      if (!a || !b) return false;
      if (rank > 0) std::swap(to[wrap(*a)], to[wrap(*b)]);
      return true;
    }
    const auto* order = std::get_if<std::vector<int64_t>>(&argument(form_.permute[0]));
    if (!order || static_cast<int64_t>(order->size()) != rank) return false;
    for (size_t i = 0; i < order->size(); ++i) to[i] = from[wrap((*order)[i])];
    return true;
  }

  template <class F>
  void for_each_dim(F&& f) {  // f(dim, size, kind)
    for (auto& tensor : binding_.inputs)
      for (size_t i = 0; i < tensor.dims.size(); ++i)
        if (tensor.dims[i].factor >= 0) f(tensor.dims[i], (*tensor.shape)[i], can_broadcast(tensor), true);
    for (auto& tensor : binding_.outputs)
      for (size_t i = 0; i < tensor.dims.size(); ++i)
        if (tensor.dims[i].factor >= 0 && numel(*tensor.shape) > 0)
          f(tensor.dims[i], (*tensor.shape)[i], false, false);
    for (auto& size : binding_.sizes)
      for (size_t i = 0; i < size.dims.size(); ++i)
        if (size.dims[i].factor >= 0) f(size.dims[i], size.values[i], true, true);
  }

  static int64_t numel(const Shape& shape) {
    int64_t n = 1;
    for (int64_t size : shape) n *= size;
    return n;
  }

  // Which dims carry their factor, and whether all agree on its size.
  void agree() {
    const auto of = [&](const BoundDim& dim) -> Factor& {
      return binding_.factors[static_cast<size_t>(dim.factor)];
    };
    for_each_dim([&](BoundDim& dim, int64_t size, bool, bool) {
      of(dim).size = std::max(of(dim).size, size / std::max<int64_t>(dim.times, 1));
    });
    for_each_dim([&](BoundDim& dim, int64_t size, bool broadcast, bool feeds) {
      Factor& factor = of(dim);
      const bool spread = form_.spread[static_cast<size_t>(factor.symbol)];
      dim.carries = size == factor.size * dim.times || (spread && size > 0 && !(broadcast && size == 1));
      if (dim.carries) factor.fed |= feeds;
      if (!dim.carries && !(broadcast && (size == 1 || size < 0))) factor.apart = false;
    });
    for (auto* tensors : {&binding_.inputs, &binding_.outputs})  // no diagonals
      for (const auto& tensor : *tensors)
        for (size_t a = 0; a < tensor.dims.size(); ++a)
          for (size_t b = a + 1; b < tensor.dims.size(); ++b)
            if (tensor.dims[a].factor >= 0 && tensor.dims[a].factor == tensor.dims[b].factor)
              of(tensor.dims[a]).apart = false;
  }

  const Rule& rule_;
  const Form& form_;
  const graph::Graph& graph_;
  const graph::Node& node_;
  Binding binding_;
  std::array<int64_t, 128> block_ranks_;
  int64_t list_size_ = 1;
};

}  // namespace

Binding bind(const Rule& rule, const graph::Graph& graph, const graph::Node& node) {
  for (const Form& form : rule.forms) {
    Binder binder(rule, form, graph, node);
    if (binder.bind()) return binder.take();
  }
  return {};
}

std::optional<Division> divide_factor(const Binding& binding, int index, int64_t outer, int64_t parts) {
  const Factor& factor = binding.factors[static_cast<size_t>(index)];
  if (!factor.apart || !factor.fed || parts < 1 || outer < 1) return std::nullopt;
  const Form& form = *binding.form;
  for (const Start& start : form.starts)  // what begins somewhere is one run
    if (start.symbol == factor.symbol && outer != 1) return std::nullopt;
  for (const auto& size : binding.sizes)
    for (size_t i = 0; i < size.dims.size(); ++i)
      if (size.dims[i].factor == index && size.dims[i].carries && size.values[i] % (outer * parts) != 0)
        return std::nullopt;

  Division division;
  bool possible = true;
  const auto place = [&](const BoundTensor& tensor) {
    Placement placement;
    for (size_t i = 0; tensor.shape && i < tensor.dims.size(); ++i) {
      const BoundDim& dim = tensor.dims[i];
      if (dim.factor != index || !dim.carries) continue;
      placement.kind = Placement::Kind::kShard;
      placement.cut = {static_cast<int>(i), outer * dim.times};
      possible &= can_cut(*tensor.shape, placement.cut, parts);
    }
    return placement;
  };
  for (const BoundTensor& input : binding.inputs) division.inputs.push_back(place(input));

  // Whether a result is made of anything that carries the factor.
  const auto depends = [&](const BoundTensor& output) {
    for (size_t i = 0; i < binding.inputs.size(); ++i)
      if (division.inputs[i].kind == Placement::Kind::kShard &&
          (output.term->made_of < 0 || output.term->made_of == binding.inputs[i].term_index))
        return true;
    return false;
  };
  const Combine combine = form.combine[static_cast<size_t>(factor.symbol)];
  for (const BoundTensor& output : binding.outputs) {
    Placement placement = place(output);
    bool empty = !output.shape || output.term->absent;
    if (!empty)
      for (int64_t size : *output.shape) empty |= size == 0;
    if (!empty && placement.kind == Placement::Kind::kReplicate && depends(output))
      placement.kind = combine == Combine::kMax   ? Placement::Kind::kPartialMax
                       : combine == Combine::kMin ? Placement::Kind::kPartialMin
                       : combine == Combine::kLse ? Placement::Kind::kPartialLse
                                                  : Placement::Kind::kPartialSum;
    if (empty) placement = {};
    division.outputs.push_back(placement);
  }
  if (!possible) return std::nullopt;

  if (!division.outputs.empty() && division.outputs[0].kind == Placement::Kind::kPartialSum)
    for (size_t i = 0; i < binding.inputs.size(); ++i)
      if (binding.inputs[i].term->added) division.added_after = static_cast<int>(i);
  division.factor = factor.symbol == kDots ? "..." : std::string(1, factor.symbol);
  if (factor.index > 0 || is_block(factor.symbol)) division.factor += std::to_string(factor.index);
  return division;
}

}  // namespace shoal::ops
