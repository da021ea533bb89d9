// The proof of a rule on one call: what it says holds, and what holds it says.
#pragma once

#include <bit>
#include <cstring>
#include <map>
#include <set>

#include "calls.h"
#include "ops/bind.h"
#include "ops/divide.h"
#include "ops/rules.h"

namespace shoal::ops {

using Kind = Placement::Kind;

inline std::string print(const std::vector<Placement>& placements) {
  std::vector<std::string> words;
  for (const Placement& placement : placements) words.push_back(print(placement));
  return join(words, ", ");
}
inline std::string print(const Division& division) {
  return cat(print(division.inputs), " -> ", print(division.outputs),
             division.added_after >= 0 ? cat(", input ", division.added_after, " added after") : "");
}

/// What was shown of one division, over dtypes and numbers of parts.
struct Shown {
  std::string how;
  std::set<std::string> dtypes;
  std::set<int64_t> parts;
  std::set<std::string> other_bits;  // the dtypes in which a sum or a kernel rounds otherwise
  bool uneven = false, value = true;
};
struct Proof {
  std::vector<std::string> failures;   // divisions that do not hold
  std::vector<std::string> missing;    // that hold, and the rule has them not
  std::map<std::string, Shown> shown;  // by factor
  std::set<std::string> sums;          // groups of inputs through which sums pass
  // Groups of which the rule does not say so, by form: the last call that says something, and whether all
  // hold.
  std::map<std::pair<const Form*, std::vector<int>>, std::pair<std::string, bool>> unstated_sums;
  int64_t runs = 0;
};

// Parts [begin, end) of a dim in [outer, parts, rest], as one tensor.
inline at::Tensor take_parts(const at::Tensor& tensor, graph::Cut cut, int64_t parts, int64_t begin,
                             int64_t end) {
  const int64_t size = tensor.size(cut.dim), rest = size / (cut.outer * parts);
  return tensor.unflatten(cut.dim, {cut.outer, parts, rest})
      .narrow(cut.dim + 1, begin, end - begin)
      .flatten(cut.dim, cut.dim + 2)
      .contiguous();
}

inline double largest(const at::Tensor& tensor) {
  return tensor.numel() == 0 ? 0 : tensor.to(at::kDouble).nan_to_num(0, 0, 0).abs().max().item<double>();
}

// Rounding alone may differ: a few units in the last place of a sum of some hundred terms; whole numbers not
// at all.
inline double tolerance(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return 1e-12;
    case at::kFloat:
      return 2e-5;
    case at::kBFloat16:
      return 4e-2;
    default:
      return 0;
  }
}

inline bool same_value(const at::Tensor& got, const at::Tensor& want, double tolerance) {
  if (got.sizes() != want.sizes() || got.scalar_type() != want.scalar_type()) return false;
  if (tolerance == 0) return at::equal(got, want);
  const double scale = std::max(1.0, largest(want));
  return at::allclose(got.to(at::kDouble), want.to(at::kDouble), 0, tolerance * scale, /*equal_nan=*/true);
}

inline bool same_bits(const at::Tensor& got, const at::Tensor& want) {
  if (got.sizes() != want.sizes() || got.scalar_type() != want.scalar_type()) return false;
  const auto a = got.contiguous(), b = want.contiguous();
  return std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

// Recombines one result from its parts; `weights`: how many of the parts each piece holds.
inline at::Tensor combine(const std::vector<at::Tensor>& pieces, const std::vector<int64_t>& weights,
                          Placement placement) {
  switch (placement.kind) {
    case Kind::kReplicate:
      return pieces[0];
    case Kind::kShard: {
      std::vector<at::Tensor> seen;
      for (size_t i = 0; i < pieces.size(); ++i) {
        const int64_t size = pieces[i].size(placement.cut.dim);
        if (size % (placement.cut.outer * weights[i]) != 0) return {};
        seen.push_back(
            pieces[i].unflatten(placement.cut.dim, {placement.cut.outer, size / placement.cut.outer}));
      }
      return at::cat(seen, placement.cut.dim + 1).flatten(placement.cut.dim, placement.cut.dim + 1);
    }
    default: {
      const at::ScalarType dtype = pieces[0].scalar_type();
      at::Tensor sum = at::isFloatingType(dtype) ? pieces[0].to(at::kDouble) : pieces[0];
      for (size_t i = 1; i < pieces.size(); ++i) {
        const at::Tensor next = pieces[i].to(sum.scalar_type());
        sum = placement.kind == Kind::kPartialSum   ? at::add(sum, next)
              : placement.kind == Kind::kPartialMax ? at::maximum(sum, next)
              : placement.kind == Kind::kPartialMin ? at::minimum(sum, next)
                                                    : at::logaddexp(sum, next);
      }
      return sum.to(dtype);
    }
  }
}

// The numbers in arguments that follow the parts are multiplied: a piece of several parts.
inline void widen(graph::Node& local, const Call& call, int64_t count) {
  const graph::Node& whole = call.node;
  if (count == 1 || local.op != whole.op) return;
  for (size_t i = 0; i < local.arguments.size(); ++i) {
    auto* number = std::get_if<int64_t>(&local.arguments[i]);
    const auto* before = std::get_if<int64_t>(&whole.arguments[i]);
    if (number && before && *number != *before) *number *= count;
    auto* list = std::get_if<std::vector<int64_t>>(&local.arguments[i]);
    const auto* list_before = std::get_if<std::vector<int64_t>>(&whole.arguments[i]);
    for (size_t j = 0; list && list_before && j < list->size(); ++j) {
      if ((*list)[j] == (*list_before)[j]) continue;
      int64_t whole_size = (*list_before)[j];
      if (whole_size == -1) whole_size = call.outputs[0].size(static_cast<int64_t>(j));  // whatever is left
      if ((*list)[j] != whole_size) (*list)[j] *= count;
    }
  }
}

/// Runs the pieces of a division: piece i computes `weights[i]` of the parts. By result, then by piece.
inline std::vector<std::vector<at::Tensor>> run_pieces(const Rule& rule, const Call& call,
                                                       const Division& division, int64_t parts,
                                                       const std::vector<int64_t>& weights) {
  std::vector<std::vector<at::Tensor>> pieces(call.outputs.size());
  int64_t begin = 0;
  for (int64_t weight : weights) {
    graph::Node local = local_node(rule, call.graph, call.node, division, parts, 0);
    widen(local, call, weight);
    // Where a piece begins: where its first part does.
    const graph::Node first = local_node(rule, call.graph, call.node, division, parts, begin);
    for (const Form& form : rule.forms)
      for (const Start& start : form.starts) {
        const auto argument = static_cast<size_t>(start.argument);
        local.arguments[argument] = first.arguments[argument];
      }
    std::vector<at::Tensor> inputs;
    for (size_t i = 0; i < call.inputs.size(); ++i) {
      if (static_cast<int>(i) == division.added_after) continue;
      inputs.push_back(division.inputs[i].kind == Kind::kShard
                           ? take_parts(call.inputs[i], division.inputs[i].cut, parts, begin, begin + weight)
                           : call.inputs[i]);
    }
    begin += weight;
    auto results = run_node(local, inputs);
    for (size_t i = 0; i < pieces.size(); ++i)
      pieces[i].push_back(i < results.size() ? results[i] : at::Tensor());
  }
  return pieces;
}

/// Empty when the division holds; else what is wrong. `bits`: whether it holds to the bit.
inline std::string check(const Rule& rule, const Call& call, const Division& division, int64_t parts,
                         const std::vector<int64_t>& weights, bool random, bool& bits) {
  std::vector<std::vector<at::Tensor>> pieces;
  try {
    pieces = run_pieces(rule, call, division, parts, weights);
  } catch (const std::exception& error) {
    return std::string(error.what()).substr(0, std::string(error.what()).find('\n'));
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (!call.outputs[i].defined()) continue;
    for (const at::Tensor& piece : pieces[i])
      if (!piece.defined()) return cat("result ", i, " of a part is missing");
    if (division.outputs[i].kind == Kind::kReplicate)
      for (const at::Tensor& piece : pieces[i])
        if (!same_value(piece, call.outputs[i], tolerance(piece)))
          return cat("result ", i, " differs between parts");
    at::Tensor got = combine(pieces[i], weights, division.outputs[i]);
    if (!got.defined()) return cat("result ", i, " does not recombine");
    if (i == 0 && division.added_after >= 0) {
      const auto bias = call.inputs[static_cast<size_t>(division.added_after)];
      got = (got.to(at::kDouble) +
             bias.to(at::kDouble).view(bias_of(rule, call.graph, call.node).value().shape))
                .to(got.scalar_type());
    }
    if (got.sizes() != call.outputs[i].sizes()) return cat("result ", i, " has shape ", got.sizes());
    if (random) continue;
    if (!same_value(got, call.outputs[i], tolerance(got)))
      return cat("result ", i, " is off by ", largest(got.to(at::kDouble) - call.outputs[i].to(at::kDouble)));
    bits &= same_bits(got, call.outputs[i]);
  }
  return "";
}

inline bool is_random(const Rule& rule, const Call& call) {
  const Binding binding = bind(rule, call.graph, call.node);
  return binding.form && binding.form->random;
}

/// The divisions that the rule states, with one run of parts in some tensor; then those in two and three.
inline std::vector<Division> all_divisions(const Rule& rule, const Call& call, int64_t parts, size_t& plain) {
  std::vector<Division> all = divisions(rule, call.graph, call.node, parts);
  plain = all.size();
  const auto ask = [&](Port port, size_t rank) {
    for (int dim = 0; dim < static_cast<int>(rank); ++dim)
      for (const int64_t outer : {2, 3})
        if (auto division = divide(rule, call.graph, call.node, port, {dim, outer}, parts))
          if (std::find(all.begin(), all.end(), *division) == all.end()) all.push_back(std::move(*division));
  };
  for (size_t i = 0; i < call.inputs.size(); ++i)
    ask({false, static_cast<int>(i)}, static_cast<size_t>(call.inputs[i].dim()));
  for (size_t i = 0; i < call.outputs.size(); ++i)
    if (call.outputs[i].defined())
      ask({true, static_cast<int>(i)}, static_cast<size_t>(call.outputs[i].dim()));
  return all;
}

/// Everything that the rule says, on a call.
inline void prove_stated(const Rule& rule, const std::string& text, at::ScalarType dtype, Proof& proof) {
  const Call call = CallParser(text, dtype).parse();
  const bool random = is_random(rule, call);
  for (const int64_t parts : {2, 3, 4, 5}) {
    size_t plain = 0;
    const std::vector<Division> all = all_divisions(rule, call, parts, plain);
    for (size_t d = 0; d < all.size(); ++d) {
      const Division& division = all[d];
      std::vector<std::vector<int64_t>> splits{std::vector<int64_t>(static_cast<size_t>(parts), 1)};
      if (parts == 3) splits.push_back({1, 2});
      if (parts == 5) splits.push_back({2, 3});
      for (const auto& weights : splits) {
        bool bits = true;
        const std::string wrong = check(rule, call, division, parts, weights, random, bits);
        ++proof.runs;
        if (!wrong.empty()) {
          proof.shown[division.factor].value = false;
          proof.failures.push_back(cat(text, " in ", parts, " parts [", join(weights, ","), "], ",
                                       graph::dtype_name(dtype), ", ", division.factor, ": ", print(division),
                                       ": ", wrong));
          continue;
        }
        Shown& shown = proof.shown[division.factor];
        if (d < plain || shown.how.empty()) shown.how = print(division);
        shown.dtypes.insert(graph::dtype_name(dtype));
        shown.parts.insert(parts);
        if (!bits) shown.other_bits.insert(graph::dtype_name(dtype));
        shown.uneven |= static_cast<int64_t>(weights.size()) != parts;
      }
    }
  }
}

// Two addends of input `index`, neither of them a multiple of it: what is linear only up to a factor, as relu
// is, would pass.
inline std::pair<at::Tensor, at::Tensor> addends_of(const at::Tensor& tensor, size_t index) {
  const auto generator = at::detail::createCPUGenerator(9 + index);
  const at::Tensor one = at::randn(tensor.sizes(), generator, at::kDouble).to(tensor.scalar_type());
  return {one, at::sub(tensor, one)};
}

/// Whether sums pass through a call in these inputs: the results of the addends add up to the whole's. Those
/// of a call whose results are zero anyway, or no numbers, say nothing: nothing is returned.
inline std::optional<bool> sums_pass(const Call& call, const std::vector<bool>& addends) {
  std::vector<at::Tensor> inputs[2] = {call.inputs, call.inputs};
  for (size_t i = 0; i < call.inputs.size(); ++i)
    if (addends[i]) std::tie(inputs[0][i], inputs[1][i]) = addends_of(call.inputs[i], i);
  std::vector<at::Tensor> results[2];
  try {
    for (int i : {0, 1}) results[i] = run_node(call.node, inputs[i]);
  } catch (const std::exception&) {
    return false;
  }
  bool says_something = false;
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    const at::Tensor& want = call.outputs[i];
    if (!want.defined() || want.numel() == 0) continue;
    if (!want.is_floating_point()) return false;
    says_something |= largest(want) > 0;
    const at::Tensor got = results[0][i].to(at::kDouble) + results[1][i].to(at::kDouble);
    // Addends are larger than what they add up to, and each is rounded.
    const double scale = 4 * std::max(1.0, largest(results[0][i]));
    if (!same_value(got, want.to(at::kDouble), tolerance(want) * scale)) return false;
  }
  return says_something ? std::optional(true) : std::nullopt;
}

/// The groups of inputs through which the rule says that sums pass; and those through which they do, and it
/// does not say so.
inline void prove_sums(const Rule& rule, const std::string& text, at::ScalarType dtype, Proof& proof) {
  const Call call = CallParser(text, dtype).parse();
  const Binding binding = bind(rule, call.graph, call.node);
  // How addends lie in memory need not be how their sum does.
  if (!binding.form || binding.form->random || binding.form->memory) return;
  std::vector<int> terms;  // that can have addends
  for (size_t i = 0; i < call.inputs.size(); ++i)
    if (call.inputs[i].is_floating_point()) {
      const int term = binding.flat ? 0 : binding.inputs[i].term_index;
      if (terms.empty() || terms.back() != term) terms.push_back(term);
    }
  std::vector<uint64_t> known;
  for (uint64_t set = 1; set < uint64_t{1} << terms.size(); ++set) {
    // Of many inputs at most three together: in the rules there are no more.
    if (terms.size() > 4 && std::popcount(set) > 3) continue;
    std::vector<bool> addends;
    std::vector<int> numbers;
    for (size_t i = 0; i < call.inputs.size(); ++i) {
      const int term = binding.flat ? 0 : binding.inputs[i].term_index;
      const auto found = std::find(terms.begin(), terms.end(), term);
      addends.push_back(found != terms.end() && (set >> (found - terms.begin()) & 1) != 0);
    }
    for (size_t t = 0; t < terms.size(); ++t)
      if ((set >> t & 1) != 0) numbers.push_back(terms[t]);
    const std::string what =
        cat(text, ", ", graph::dtype_name(dtype), ": sums in inputs ", join(numbers, " "));
    const std::optional<bool> passes = sums_pass(call, addends);
    ++proof.runs;
    // Where a group passes, so does a larger one with inputs that do not matter.
    const bool is_larger =
        std::any_of(known.begin(), known.end(), [&](uint64_t smaller) { return (smaller & set) == smaller; });
    const bool is_stated = pass_sums(rule, call.graph, call.node, addends).has_value();
    if (is_stated && passes == false) proof.failures.push_back(what);
    if (is_stated && passes == true) proof.sums.insert(join(numbers, " "));
    if (!is_stated && dtype == at::kDouble && !is_larger) {
      auto& [call_of, holds] =
          proof.unstated_sums.try_emplace({binding.form, numbers}, "", true).first->second;
      if (passes) call_of = what, holds = holds && *passes;
    }
    if (is_stated || passes == true) known.push_back(set);
  }
}

/// What held in all calls of a form. (What a call leaves out may matter in another: a mask of results.)
inline void find_missing_sums(Proof& proof) {
  for (const auto& [group, found] : proof.unstated_sums)
    if (found.second && !found.first.empty()) proof.missing.push_back(found.first);
}

// All ways to cut the inputs, each on one dim or none. With many inputs only dims of one size go together: a
// letter has one size.
inline std::vector<std::vector<Placement>> all_placements(const Call& call, int64_t parts) {
  std::vector<std::vector<Placement>> found;
  std::vector<Placement> current(call.inputs.size());
  const bool one_size = call.inputs.size() > 3;
  const auto choose = [&](auto&& self, size_t input, int64_t size) -> void {
    if (input == call.inputs.size()) {
      for (const Placement& placement : current)
        if (placement.kind == Kind::kShard) {
          found.push_back(current);
          return;
        }
      return;
    }
    current[input] = {};
    self(self, input + 1, size);
    const auto& shape = call.graph.type(static_cast<graph::ValueId>(input)).shape;
    for (int dim = 0; dim < static_cast<int>(shape.size()); ++dim) {
      const int64_t here = shape[static_cast<size_t>(dim)];
      if (!can_cut(shape, {dim, 1}, parts) || (one_size && size != 0 && here != size)) continue;
      current[input] = {Kind::kShard, {dim, 1}};
      self(self, input + 1, here);
    }
    current[input] = {};
  };
  choose(choose, 0, 0);
  return found;
}

inline bool cuts_a_kept_dim(const Binding& binding, const std::vector<Placement>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const size_t dim = static_cast<size_t>(inputs[i].cut.dim);
    if (inputs[i].kind != Kind::kShard || dim >= binding.inputs[i].dims.size()) continue;
    const int factor = binding.inputs[i].dims[dim].factor;
    if (factor >= 0 &&
        binding.form->combine[static_cast<size_t>(binding.factors[static_cast<size_t>(factor)].symbol)] ==
            Combine::kKept)
      return true;
  }
  return false;
}

// Kernels that read their inputs without comparing the shapes: inputs that do not fit together would be read
// out of bounds, so for these the same index is cut in all inputs or in none.
inline bool compares_shapes(const std::string& op) {
  for (const char* word : {"attention", "pool", "norm", "nll_loss", "upsample", "softmax_backward",
                           "glu_backward", "embedding_dense", "embedding_bag", "_prelu", "margin", "cdist",
                           "pdist", "grid_sampler", "rrelu_with_noise_backward"})
    if (op.find(word) != std::string::npos) return false;
  return true;
}

// Some also read and write wherever an index says, unchecked: outside, if the dim that it counts were cut.
inline bool checks_indices(const std::string& op) {
  const auto is_of = [&](const char* word) { return op.find(word) != std::string::npos; };
  return !(is_of("embedding_bag") || (op.ends_with("_backward") && (is_of("max_pool") || is_of("nll_loss"))));
}

inline bool fits_together(const std::string& op, const Binding& binding,
                          const std::vector<Placement>& inputs) {
  if (!binding.form) return false;
  for (size_t factor = 0; factor < binding.factors.size(); ++factor) {
    size_t carriers = 0, cut = 0;
    for (size_t i = 0; i < inputs.size(); ++i)
      for (size_t dim = 0; dim < binding.inputs[i].dims.size(); ++dim) {
        if (binding.inputs[i].dims[dim].factor != static_cast<int>(factor) ||
            !binding.inputs[i].dims[dim].carries)
          continue;
        ++carriers;
        cut += inputs[i].kind == Kind::kShard && inputs[i].cut.dim == static_cast<int>(dim);
      }
    if (cut != 0 && (cut != carriers || (!checks_indices(op) && !binding.factors[factor].apart)))
      return false;
  }
  return true;
}

/// How a result can be put together from its parts: the first of whole, cut on a dim, sum that gives it; or
/// none.
inline std::optional<Placement> recombination(const std::vector<at::Tensor>& pieces, const at::Tensor& want,
                                              int64_t parts) {
  bool whole = true;
  for (const at::Tensor& piece : pieces) whole &= same_value(piece, want, tolerance(want));
  if (whole) return Placement{};
  const std::vector<int64_t> ones(pieces.size(), 1);
  for (const at::Tensor& piece : pieces)
    if (piece.sizes() != pieces[0].sizes()) return {};
  for (int dim = 0; dim < want.dim(); ++dim) {
    auto shape = want.sizes().vec();
    if (!can_cut(shape, {dim, 1}, parts) || pieces[0].sizes().vec() != part_shape(shape, {dim, 1}, parts))
      continue;
    const Placement shard{Kind::kShard, {dim, 1}};
    if (same_value(combine(pieces, ones, shard), want, tolerance(want))) return shard;
  }
  const Placement sum{Kind::kPartialSum, {}};
  if (want.scalar_type() != at::kBool && pieces[0].sizes() == want.sizes() &&
      same_value(combine(pieces, ones, sum), want, tolerance(want)))
    return sum;
  return {};
}

/// Everything that holds on a call is in the rule: all placements of the inputs are tried.
inline void find_missing(const Rule& rule, const std::string& text, Proof& proof) {
  const Call call = CallParser(text, at::kDouble).parse();
  const Binding binding = bind(rule, call.graph, call.node);
  if (binding.form && binding.form->random) return;
  for (const int64_t parts : {2, 3}) {
    std::set<std::string> stated;
    for (const Division& division : divisions(rule, call.graph, call.node, parts))
      stated.insert(print(division.inputs));
    // Sizes may have to follow the result: then its cut is tried too.
    std::vector<Placement> results{{}};
    if (binding.form && !binding.sizes.empty() && call.outputs[0].defined())
      for (int dim = 0; dim < call.outputs[0].dim(); ++dim)
        if (can_cut(call.outputs[0].sizes().vec(), {dim, 1}, parts))
          results.push_back({Kind::kShard, {dim, 1}});
    for (const auto& inputs : all_placements(call, parts)) {
      if (stated.contains(print(inputs)) || (binding.form && cuts_a_kept_dim(binding, inputs))) continue;
      if (!compares_shapes(call.node.op) && !fits_together(call.node.op, binding, inputs)) continue;
      for (const Placement& result : results) {
        Division division{"", inputs, std::vector<Placement>(call.outputs.size())};
        if (!division.outputs.empty()) division.outputs[0] = result;
        std::vector<std::vector<at::Tensor>> pieces;
        ++proof.runs;
        try {
          pieces =
              run_pieces(rule, call, division, parts, std::vector<int64_t>(static_cast<size_t>(parts), 1));
        } catch (const std::exception&) {
          continue;
        }
        bool holds = true;
        for (size_t i = 0; holds && i < pieces.size(); ++i) {
          if (!call.outputs[i].defined()) continue;
          for (const at::Tensor& piece : pieces[i]) holds &= piece.defined();
          const auto placement = holds ? recombination(pieces[i], call.outputs[i], parts) : std::nullopt;
          holds = placement.has_value();
          if (placement) division.outputs[i] = *placement;
        }
        if (!holds) continue;
        proof.missing.push_back(cat(text, " in ", parts, " parts: ", print(division)));
        break;
      }
    }
  }
}

}  // namespace shoal::ops
