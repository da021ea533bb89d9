// Programs as text, a line for each buffer and instruction:
//   program rank=1 tp=2 pp=1 layers=0..30 kv_heads=2..3
//   buffer x width=576
//   q = matmul normed weight=blk.0.attn_q.weight ranges=384..576
#include <array>
#include <charconv>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "infer/program.h"
#include "shoal/error.h"

namespace shoal::infer {
namespace {

constexpr std::array<std::pair<Op, std::string_view>, 18> kNames = {{{Op::kEmbed, "embed"},
                                                                     {Op::kPosition, "position"},
                                                                     {Op::kRmsNorm, "rms_norm"},
                                                                     {Op::kLayerNorm, "layer_norm"},
                                                                     {Op::kMatmul, "matmul"},
                                                                     {Op::kBias, "bias"},
                                                                     {Op::kRope, "rope"},
                                                                     {Op::kStore, "store"},
                                                                     {Op::kAttention, "attention"},
                                                                     {Op::kGather, "gather"},
                                                                     {Op::kAdd, "add"},
                                                                     {Op::kSiluTimes, "silu_times"},
                                                                     {Op::kGelu, "gelu"},
                                                                     {Op::kSend, "send"},
                                                                     {Op::kRecv, "recv"},
                                                                     {Op::kTake, "take"},
                                                                     {Op::kLogits, "logits"},
                                                                     {Op::kStates, "states"}}};

std::string name_of(Op op) {
  for (const auto& [known, name] : kNames)
    if (known == op) return std::string(name);
  return "";
}

std::string range_text(Range range) { return cat(range.begin, "..", range.end); }

class Line {
 public:
  Line(std::string text, int64_t number) : text_(std::move(text)), number_(number) {
    std::istringstream words(text_);
    for (std::string word; words >> word;) words_.push_back(word);
  }
  bool empty() const { return words_.empty(); }
  const std::vector<std::string>& words() const { return words_; }
  [[noreturn]] void fail() const {
    throw InputError(
        cat("program, line ", number_, " - got \"", text_, "\", want a buffer or an instruction"));
  }
  int64_t whole(std::string_view word) const {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size()) fail();
    return value;
  }
  Range range(std::string_view word) const {
    const size_t dots = word.find("..");
    if (dots == std::string_view::npos) fail();
    return {whole(word.substr(0, dots)), whole(word.substr(dots + 2))};
  }

 private:
  std::string text_;
  int64_t number_;
  std::vector<std::string> words_;
};

Instruction parse_instruction(const Line& line) {
  Instruction instruction;
  size_t at = 0;
  const std::vector<std::string>& words = line.words();
  if (words.size() > 2 && words[1] == "=") {
    instruction.output = words[0];
    at = 2;
  }
  bool known = false;
  for (const auto& [op, name] : kNames)
    if (name == words[at]) instruction.op = op, known = true;
  if (!known) line.fail();
  for (++at; at < words.size(); ++at) {
    const size_t equals = words[at].find('=');
    if (equals == std::string::npos) {
      instruction.inputs.push_back(words[at]);
      continue;
    }
    const std::string key = words[at].substr(0, equals), value = words[at].substr(equals + 1);
    if (key == "weight")
      instruction.weight = value;
    else if (key == "bias")
      instruction.bias = value;
    else if (key == "layer")
      instruction.layer = line.whole(value);
    else if (key == "heads")
      instruction.heads = line.whole(value);
    else if (key == "peer")
      instruction.peer = line.whole(value);
    else if (key == "ranges")
      for (const std::string& range : split(value, ',')) instruction.ranges.push_back(line.range(range));
    else
      line.fail();
  }
  return instruction;
}

}  // namespace

std::string to_text(const Program& program) {
  std::string text =
      cat("program rank=", program.rank, " tp=", program.tp, " pp=", program.pp,
          " layers=", range_text(program.layers), " kv_heads=", range_text(program.kv_heads), "\n");
  for (const Buffer& buffer : program.buffers)
    text += cat("buffer ", buffer.name, " width=", buffer.width, buffer.of_results ? " results" : "", "\n");
  for (const Instruction& instruction : program.instructions) {
    if (!instruction.output.empty()) text += instruction.output + " = ";
    text += name_of(instruction.op);
    for (const std::string& input : instruction.inputs) text += " " + input;
    if (!instruction.weight.empty()) text += " weight=" + instruction.weight;
    if (!instruction.bias.empty()) text += " bias=" + instruction.bias;
    std::vector<std::string> ranges;
    for (const Range range : instruction.ranges) ranges.push_back(range_text(range));
    if (!ranges.empty()) text += " ranges=" + join(ranges, ",");
    if (instruction.layer >= 0) text += cat(" layer=", instruction.layer);
    if (instruction.heads > 0) text += cat(" heads=", instruction.heads);
    if (instruction.peer >= 0) text += cat(" peer=", instruction.peer);
    text += "\n";
  }
  return text;
}

Program parse_program(const std::string& text) {
  Program program;
  int64_t number = 0;
  std::istringstream lines(text);
  for (std::string row; std::getline(lines, row);) {
    const Line line(row, ++number);
    if (line.empty()) continue;
    const std::vector<std::string>& words = line.words();
    const auto value = [&](size_t at, std::string_view key) {
      if (at >= words.size() || !words[at].starts_with(cat(key, "="))) line.fail();
      return std::string_view(words[at]).substr(key.size() + 1);
    };
    if (words[0] == "program") {
      program.rank = line.whole(value(1, "rank")), program.tp = line.whole(value(2, "tp"));
      program.pp = line.whole(value(3, "pp")), program.layers = line.range(value(4, "layers"));
      program.kv_heads = line.range(value(5, "kv_heads"));
    } else if (words[0] == "buffer") {
      if (words.size() < 3) line.fail();
      program.buffers.push_back(
          {words[1], line.whole(value(2, "width")), words.size() > 3 && words[3] == "results"});
    } else {
      program.instructions.push_back(parse_instruction(line));
    }
  }
  return program;
}

}  // namespace shoal::infer
