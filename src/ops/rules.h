// The notation of rules, and the table of them: one row per operator, from which every way to divide it
// follows.
//
// clang-format off
//   rule   = form { "|" form }                   the first form that fits the node is its rule
//   form   = [ term {"," term} ] "->" term {"," term} { ";" clause }
//   term   = [ "+" ] ( axes | "{" axes "}" ) [ "@" n ]    one for each tensor argument, in the schema's order, then
//                                                one for each result
//          | "()"                                a tensor without dims
//          | "(...)"                             all dims as one row-major index: views, which may regroup them
//          | "-"                                 a result that is no tensor, or has nothing to do with any letter
//   axes   = { letter | BLOCK | "..." [ "[" place {"," place} "]" ] }
//   place  = argument ":" ( [ n ] letter [ "~" | "%" ] | BLOCK | "_" )
//
//   letter  a dim. The same letter is the same index everywhere; one that a result lacks is summed there.
//   BLOCK   a capital: any number of dims. "..." is one more block. Blocks are aligned from the right.
//   place   the dims that an argument of the node names (by number, by a list of numbers, or by which tensors of a
//           list are there) carry this letter; what is left is the "...". None or an empty list names all dims.
//           "2s": the dim is two runs of s, one behind the other; "s~": as many as the list in braces has tensors.
//           "s%": the list has two numbers for each dim, the last dim first; those with a number other than 0 carry s.
//           "_": dims that a reduction left with size 1, or dropped.
//   "{}"    a list of tensors, each with these axes
//   "+"     added once to the result: a bias. Where the result is a sum of parts it is left out of them.
//   "@n"    this result is made of input n alone
//
//   clause = "if" { argument "=" value }         the form holds only for nodes with these arguments: numbers, true,
//                                                false, none, words, lists of numbers
//          | "whole:" { symbol }                 these dims cannot come apart
//          | "kept:" { symbol } "(" why ")"      these could, and are not
//          | "max:" { symbol }                   parts of a result that lacks these are combined by the larger, not added
//          | "min:" { symbol }                   ... by the smaller
//          | "lse:" { symbol }                   ... by the logarithm of the sum of their exponentials
//          | "spread:" symbol                    dims of this letter may differ in size: a part takes its share of each
//          | "broadcast" [ ":" n ]               dims of size 1, and missing dims on the left, serve every index:
//                                                in all inputs, or in input n
//          | "permute:" argument [ argument ]    the result's dims are the input's in this order; two change places
//          | "without:" op "(" { argument } ")"  the operator that does the same but for the bias, and what it takes
//          | "linear:" n {n} { "," n {n} }       where these inputs are addends of sums, and no others, so are the results:
//                                                each group of inputs for itself. A "view" is linear in input 0
//          | "at:" argument letter               this argument says where the letter begins: it grows from part to part
//          | "view"                              costs nothing
//          | "memory"                            goes by places in memory, not by indices: no sum passes it
//          | "random"                            draws numbers, or leaves them as they come: parts need not be the whole's
//          | "flops:" n { symbol }               what it costs: n times the sizes of these; else one per element
//          | argument "=" ( axes | "{" letter "}" | "(...)" )    sizes that follow the parts: a number or a list with
//                                                these axes; a list whose numbers are all of this letter; the shape of
//                                                the first result
// clang-format on
//
// docs/adding_an_operator.md shows them one by one; tests/ops proves every row.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::ops {

using Symbol = char;                  // 'a'..'z', 'A'..'Z'
inline constexpr Symbol kDots = '.';  // the block "..."
inline constexpr Symbol kOne = '_';

inline bool is_block(Symbol symbol) { return symbol == kDots || (symbol >= 'A' && symbol <= 'Z'); }

struct Place {
  std::string argument_name;
  Symbol symbol = kOne;
  int times = 1;            // runs of the letter
  bool times_list = false;  // as many as the list has tensors
  bool pairs = false;       // two numbers a dim, the last dim first
  int argument = -1;        // its position, known once the schema is
};

struct Term {
  std::vector<Symbol> symbols;
  std::vector<Place> places;  // of "..."
  bool list = false;
  bool added = false;
  bool absent = false;  // "-"
  bool flat = false;    // "(...)"
  int made_of = -1;     // the one input; -1: all
};

struct SizeArgument {
  std::string argument_name;
  Term term;
  int argument = -1;
};

struct Condition {
  std::string argument_name, value;
  int argument = -1;
};

struct Start {
  std::string argument_name;
  Symbol symbol = kOne;
  int argument = -1;
};

enum class Combine : uint8_t { kSum, kMax, kMin, kLse, kWhole, kKept };

struct Form {
  std::vector<Term> inputs, outputs;
  std::vector<Condition> conditions;
  std::vector<SizeArgument> sizes;
  std::array<Combine, 128> combine{};  // by symbol
  std::array<bool, 128> spread{};
  bool broadcast_all = false;
  int broadcast_input = -1;
  bool view = false, memory = false, random = false;
  std::vector<std::string> permute_names;
  std::vector<int> permute;  // positions of arguments
  std::string without_op;
  std::vector<std::string> without_names;
  std::vector<int> without;
  std::vector<std::vector<int>> linear;  // groups of inputs, by number of their term
  std::vector<Start> starts;
  double flops = 0;  // 0: one per element
  std::vector<Symbol> flops_symbols;
  std::string kept_because;
};

struct Rule {
  std::string op, text;
  std::vector<Form> forms;
  std::vector<int> tensor_arguments;  // positions in the schema
};

/// Throws InputError: "rule of my::op, at 7 - ...: got X, want Y", with the position in the text.
Rule parse_rule(const std::string& op, const std::string& text);

/// Names become positions. Throws InputError when the rule does not fit the operator's schema, or LibTorch
/// does not know the operator.
void resolve(Rule&);

/// The rule of an operator, its own row or a registered one, ready for use; valid for the life of the
/// program; null where it has none. Throws InputError when a rule does not fit its operator's schema.
/// Thread-safe.
const Rule* rule_of(const std::string& op);

bool has_rule(const std::string& op);
/// Names of all operators that have a rule, sorted.
std::vector<std::string> operators_with_rules();

/// A row of the tables.
struct Row {
  const char* op;
  const char* rule;
};
/// Of tables/*.cc, one each.
using Table = std::span<const Row>;
Table attention_table();
Table convolution_table();
Table factory_table();
Table indexing_table();
Table loss_table();
Table matmul_table();
Table normalisation_table();
Table padding_table();
Table pointwise_table();
Table pooling_table();
Table random_table();
Table reduction_table();
Table resampling_table();
Table shape_table();
Table vocabulary_table();

}  // namespace shoal::ops
