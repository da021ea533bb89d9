// The text form of a Graph: one line per input, node and output; grammar in docs/graph.md.
#include <charconv>
#include <cmath>
#include <utility>

#include "base/hash.h"
#include "base/text.h"
#include "graph/graph.h"
#include "shoal/error.h"

namespace shoal::graph {
namespace {

constexpr std::pair<c10::ScalarType, const char*> kDTypeNames[] = {
    {c10::ScalarType::Float, "f32"}, {c10::ScalarType::Double, "f64"}, {c10::ScalarType::BFloat16, "bf16"},
    {c10::ScalarType::Half, "f16"},  {c10::ScalarType::Long, "i64"},   {c10::ScalarType::Int, "i32"},
    {c10::ScalarType::Short, "i16"}, {c10::ScalarType::Char, "i8"},    {c10::ScalarType::Byte, "u8"},
    {c10::ScalarType::Bool, "bool"},
};
constexpr std::pair<InputKind, const char*> kInputNames[] = {{InputKind::kParameter, "parameter"},
                                                             {InputKind::kBuffer, "buffer"},
                                                             {InputKind::kBatch, "batch"},
                                                             {InputKind::kConstant, "constant"},
                                                             {InputKind::kExternal, "external"}};

std::string print_part(int part) { return part == kWhole ? "" : cat(" part=", part); }

std::string print_value(ValueId id) { return id == kNoValue ? "_" : cat("%", id); }

std::string print_double(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";  // told from an int
  return text;
}

std::string quote(const std::string& text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

// A list prints its items; an empty one its type, which nothing else would tell.
template <class T, class Print>
std::string print_list(const std::vector<T>& items, const char* type, Print print_item) {
  if (items.empty()) return cat(type, "[]");
  std::vector<std::string> texts;
  for (const auto& item : items) texts.push_back(print_item(item));
  return cat("[", join(texts, ","), "]");
}

struct ArgumentPrinter {
  std::string operator()(None) const { return "none"; }
  std::string operator()(Tensor tensor) const { return print_value(tensor.id); }
  std::string operator()(const TensorList& list) const {
    std::vector<std::string> texts;
    for (ValueId id : list.ids) texts.push_back(print_value(id));
    return cat("{", join(texts, ","), "}", list.optional ? "?" : "");
  }
  std::string operator()(DeviceArgument) const { return "device"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return cat(value); }
  std::string operator()(double value) const { return print_double(value); }
  std::string operator()(const std::string& text) const { return quote(text); }
  std::string operator()(const std::vector<bool>& list) const {
    return print_list(list, "bool", [](bool item) { return std::string(item ? "true" : "false"); });
  }
  std::string operator()(const std::vector<int64_t>& list) const {
    return print_list(list, "int", [](int64_t item) { return cat(item); });
  }
  std::string operator()(const std::vector<double>& list) const {
    return print_list(list, "float", print_double);
  }
};

// Reads one line of the text form, character by character.
class LineParser {
 public:
  LineParser(std::string_view line, int number) : rest_(line), number_(number) {}

  [[noreturn]] void fail(const std::string& want) {
    throw InputError(
        cat("graph line ", number_, " - syntax: got \"", rest_.substr(0, 20), "\", want ", want));
  }
  void skip_spaces() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
  }
  bool done() {
    skip_spaces();
    return rest_.empty();
  }
  bool take(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token)) fail(cat("\"", token, "\""));
  }
  std::string rest() { return std::string(std::exchange(rest_, {})); }
  std::string word() {
    skip_spaces();
    const size_t size = std::min(rest_.find_first_of(" ()[]{},=\"?"), rest_.size());
    if (size == 0) fail("a word");
    std::string text(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return text;
  }
  std::string quoted() {
    expect("\"");
    std::string text;
    while (!rest_.empty() && rest_.front() != '"') {
      if (rest_.front() == '\\') rest_.remove_prefix(1);
      if (rest_.empty()) break;
      text += rest_.front();
      rest_.remove_prefix(1);
    }
    expect("\"");
    return text;
  }
  template <class T>
  T number() {
    skip_spaces();
    T value{};
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) fail("a number");
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }
  ValueId value() {
    if (take("_")) return kNoValue;
    expect("%");
    return number<ValueId>();
  }
  std::vector<int64_t> numbers(std::string_view close) {
    std::vector<int64_t> list;
    while (!take(close)) {
      if (!list.empty()) expect(",");
      list.push_back(number<int64_t>());
    }
    return list;
  }
  TensorType type() {
    const std::string name = word();
    const auto* found = std::find_if(std::begin(kDTypeNames), std::end(kDTypeNames),
                                     [&](auto& d) { return name == d.second; });
    if (found == std::end(kDTypeNames)) fail(cat("a dtype instead of \"", name, "\""));
    expect("[");
    TensorType type = contiguous_type(found->first, numbers("]"));
    if (take("{")) type.strides = numbers("}");
    if (type.strides.size() != type.shape.size()) fail("as many strides as sizes");
    return type;
  }
  Argument argument() {
    skip_spaces();
    if (take("none")) return None{};
    if (take("device")) return DeviceArgument{};
    if (take("true")) return true;
    if (take("false")) return false;
    if (take("int[]")) return std::vector<int64_t>{};
    if (take("float[]")) return std::vector<double>{};
    if (take("bool[]")) return std::vector<bool>{};
    if (take("{")) return tensor_list();
    if (take("[")) return list();
    if (rest_.starts_with("%") || rest_.starts_with("_")) return Tensor{value()};
    if (rest_.starts_with("\"")) return quoted();
    return scalar();
  }

 private:
  Argument tensor_list() {
    TensorList list;
    for (bool first = true; !take("}"); first = false) {
      if (!first) expect(",");
      list.ids.push_back(value());
    }
    list.optional = take("?");
    return list;
  }
  Argument scalar() {
    for (auto [name, special] : {std::pair{"inf", INFINITY}, {"-inf", -INFINITY}, {"nan", NAN}})
      if (take(name)) return double{special};
    const std::string_view token = rest_.substr(0, rest_.find_first_of(",)] "));
    if (token.find_first_of(".e") != std::string_view::npos) return number<double>();
    return number<int64_t>();
  }
  Argument list() {
    std::vector<Argument> items;
    while (!take("]")) {
      if (!items.empty()) expect(",");
      items.push_back(argument());
      if (items.back().index() != items.front().index()) fail("items of one kind");
    }
    const auto gather = [&]<class T>(T) {
      std::vector<T> values;
      for (const Argument& item : items) values.push_back(std::get<T>(item));
      return Argument(values);
    };
    if (std::holds_alternative<bool>(items.at(0))) return gather(bool{});
    if (std::holds_alternative<int64_t>(items.at(0))) return gather(int64_t{});
    if (std::holds_alternative<double>(items.at(0))) return gather(double{});
    fail("a list of numbers or truth values");
  }

  std::string_view rest_;
  int number_;
};

void define(Graph& graph, LineParser& line, ValueId id, TensorType type) {
  if (id == kNoValue) return;
  if (id < 0) line.fail("a value number of 0 or more");
  if (static_cast<size_t>(id) >= graph.values.size()) graph.values.resize(static_cast<size_t>(id) + 1);
  graph.values[static_cast<size_t>(id)] = std::move(type);
}

void parse_node(Graph& graph, LineParser& line, std::vector<ValueId> results) {
  Node node;
  node.results = std::move(results);
  node.op = line.word();
  line.expect("(");
  while (!line.take(")")) {
    if (!node.arguments.empty()) line.expect(",");
    node.arguments.push_back(line.argument());
  }
  line.expect(":");
  for (size_t i = 0; i < node.results.size(); ++i) {
    if (i > 0) line.expect(",");
    if (node.results[i] == kNoValue)
      line.expect("_");
    else
      define(graph, line, node.results[i], line.type());
  }
  line.expect("@");
  if (line.take("backward"))
    node.phase = Phase::kBackward;
  else
    line.expect("forward");
  if (line.take("random=")) node.random = line.number<int>();
  if (line.take("part=")) node.part = line.number<int>();
  if (!line.done()) node.scope = line.word();
  if (!line.done()) line.fail("the end of the line");
  graph.nodes.push_back(std::move(node));
}

}  // namespace

std::string dtype_name(c10::ScalarType dtype) {
  for (const auto& [type, name] : kDTypeNames)
    if (type == dtype) return name;
  return c10::toString(dtype);
}

std::string print(const TensorType& type) {
  std::string text = cat(dtype_name(type.dtype), "[", join(type.shape, ","), "]");
  if (type.strides != contiguous_type(type.dtype, type.shape).strides)
    text += cat("{", join(type.strides, ","), "}");
  return text;
}

TensorType parse_type(const std::string& text) {
  LineParser line(text, 1);
  TensorType type = line.type();
  if (!line.done()) line.fail("the end of the type");
  return type;
}

std::string print(const Graph& graph, const Node& node) {
  std::vector<std::string> results, arguments, types;
  for (ValueId id : node.results) {
    results.push_back(print_value(id));
    types.push_back(id == kNoValue ? "_" : print(graph.type(id)));
  }
  for (const Argument& argument : node.arguments)
    arguments.push_back(std::visit(ArgumentPrinter{}, argument));
  return cat(join(results, ", "), " = ", node.op, "(", join(arguments, ", "), ") : ", join(types, ", "), " @",
             node.phase == Phase::kForward ? "forward" : "backward",
             node.random >= 0 ? cat(" random=", node.random) : "", print_part(node.part),
             node.scope.empty() ? "" : " ", node.scope);
}

std::string print(const Graph& graph) {
  std::string text;
  for (const Input& input : graph.inputs) {
    const auto* kind = std::find_if(std::begin(kInputNames), std::end(kInputNames),
                                    [&](auto& k) { return k.first == input.kind; });
    text += cat("%", input.value, " = ", kind->second, " ", quote(input.name), " : ",
                print(graph.type(input.value)), print_part(input.part));
    if (const auto found = graph.constants.find(input.value); found != graph.constants.end()) {
      const at::Tensor data = found->second.contiguous();
      text += cat(" #", hash_hex({static_cast<const std::byte*>(data.const_data_ptr()), data.nbytes()}));
    }
    text += "\n";
  }
  for (const Node& node : graph.nodes) text += print(graph, node) + "\n";
  for (ValueId id : graph.results) text += cat("result ", print_value(id), "\n");
  for (const Gradient& gradient : graph.gradients) {
    text += cat("gradient ", quote(gradient.parameter));
    for (ValueId id : gradient.contributions) text += " " + print_value(id);
    text += print_part(gradient.part) + "\n";
  }
  if (graph.num_parts > 1) text += cat("parts ", graph.num_parts, "\n");
  for (const auto& [parameter, cut] : graph.cuts)
    text += cat("cut ", quote(parameter), " dim=", cut.dim, " outer=", cut.outer, "\n");
  if (!graph.buffer_update.buffers.empty()) {
    text += "update";
    for (const std::string& buffer : graph.buffer_update.buffers) text += " " + quote(buffer);
    text += " from";
    for (ValueId id : graph.buffer_update.observed) text += " " + print_value(id);
    text += "\n";
    for (const std::string& line : split(print(*graph.buffer_update.update), '\n'))
      if (!line.empty()) text += cat("| ", line, "\n");
  }
  return text;
}

Graph parse(const std::string& text) {
  Graph graph;
  std::string update;  // the lines of the buffer update
  int number = 0;
  for (const std::string& content : split(text, '\n')) {
    LineParser line(content, ++number);
    if (line.done()) continue;
    if (line.take("result ")) {
      graph.results.push_back(line.value());
    } else if (line.take("gradient ")) {
      Gradient gradient{line.quoted(), {}};
      while (!line.done() && !line.take("part=")) gradient.contributions.push_back(line.value());
      if (!line.done()) gradient.part = line.number<int>();
      graph.gradients.push_back(std::move(gradient));
    } else if (line.take("parts ")) {
      graph.num_parts = line.number<int64_t>();
    } else if (line.take("cut ")) {
      Cut& cut = graph.cuts[line.quoted()];
      line.expect("dim=");
      cut.dim = line.number<int>();
      line.expect("outer=");
      cut.outer = line.number<int64_t>();
    } else if (line.take("update ")) {
      while (!line.take("from")) graph.buffer_update.buffers.push_back(line.quoted());
      while (!line.done()) graph.buffer_update.observed.push_back(line.value());
    } else if (line.take("| ")) {
      update += line.rest() + "\n";
    } else {
      std::vector<ValueId> results = {line.value()};
      while (line.take(",")) results.push_back(line.value());
      line.expect("=");
      const auto* kind = std::find_if(std::begin(kInputNames), std::end(kInputNames),
                                      [&](auto& k) { return line.take(cat(k.second, " ")); });
      if (kind == std::end(kInputNames)) {
        parse_node(graph, line, std::move(results));
        continue;
      }
      Input input{kind->first, line.quoted(), results.at(0)};
      line.expect(":");
      define(graph, line, input.value, line.type());
      if (line.take("part=")) input.part = line.number<int>();
      if (line.take("#")) line.word();
      graph.inputs.push_back(std::move(input));
    }
    if (!line.done()) line.fail("the end of the line");
  }
  if (!update.empty()) graph.buffer_update.update = std::make_shared<Graph>(parse(update));
  return graph;
}

}  // namespace shoal::graph
