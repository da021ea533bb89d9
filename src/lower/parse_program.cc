// Reads what program_text.cc prints.
#include <cctype>
#include <charconv>

#include "base/text.h"
#include "lower/buffer_names.h"
#include "shoal/error.h"

namespace shoal::lower {
namespace {

using Kind = Instruction::Kind;
using graph::ValueId;

// A line as words, read from the left.
class Words {
 public:
  Words(const std::string& line, int number) : line_(line), number_(number) {
    for (const std::string& word : split(line, ' '))
      if (!word.empty()) words_.push_back(word);
  }
  [[noreturn]] void fail(const std::string& got, const std::string& want) const {
    throw InputError(cat("program line ", number_, " - syntax: got \"", got, "\", want ", want));
  }
  bool done() const { return next_ == words_.size(); }
  std::string word(const char* want = "a word") {
    if (done()) fail("the end of the line", want);
    return words_[next_++];
  }
  bool take(std::string_view word) {
    if (done() || words_[next_] != word) return false;
    ++next_;
    return true;
  }
  void expect(const char* word) {
    if (!take(word)) fail(done() ? "the end of the line" : words_[next_], cat("\"", word, "\""));
  }
  bool at(std::string_view prefix) const { return !done() && words_[next_].starts_with(prefix); }
  /// What follows "key=".
  std::string option(const std::string& key) {
    const std::string text = word(cat(key, "=...").c_str());
    if (!text.starts_with(key + "=")) fail(text, cat(key, "=..."));
    return text.substr(key.size() + 1);
  }
  template <class T = int64_t>
  T number(std::string_view text, std::string_view prefix = "") const {
    T value{};
    const std::string_view digits = text.substr(std::min(prefix.size(), text.size()));
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (!text.starts_with(prefix) || error != std::errc() || end != digits.data() + digits.size())
      fail(std::string(text), cat("\"", prefix, "\" and a number"));
    return value;
  }
  Range range(std::string_view text) const {
    const size_t comma = text.find(',');
    if (!text.starts_with('[') || !text.ends_with(')') || comma == std::string_view::npos)
      fail(std::string(text), "a range like [0,2)");
    return {number(text.substr(1, comma - 1)), number(text.substr(comma + 1, text.size() - comma - 2))};
  }
  std::vector<ValueId> values(const char* what) {
    std::vector<ValueId> ids;
    if (take(what))
      while (at("%")) ids.push_back(number<ValueId>(word(), "%"));
    return ids;
  }
  std::vector<int> numbers() {
    std::vector<int> all;
    while (!done() && std::isdigit(static_cast<unsigned char>(words_[next_][0]))) all.push_back(number<int>(word()));
    return all;
  }
  std::pair<Buffer::Kind, int> buffer(const std::string& text) const {
    for (const auto& [kind, name] : kBufferNames) {
      if (!text.starts_with(cat("%", name)) || (is_numbered(kind) == (text.size() == 2))) continue;
      return {kind, is_numbered(kind) ? number<int>(text, cat("%", name)) : 0};
    }
    fail(text, "a buffer");
  }
  int buffer(Buffer::Kind kind) {
    const std::string text = word("a buffer");
    const auto [found, number] = buffer(text);
    if (found != kind) fail(text, cat("a buffer like ", print_buffer(kind)));
    return number;
  }
  PartialSum term() {
    const std::string text = word("a term of the sum");
    PartialSum term;
    std::string_view rest = text;
    term.in_fp32 = rest.ends_with(":f32");
    if (term.in_fp32) rest.remove_suffix(4);
    if (const size_t a = rest.find("%a"); a != std::string_view::npos) {
      term.accumulator = number<int>(rest.substr(a), "%a");
      rest = rest.substr(0, a);
    }
    if (const size_t at = rest.find('@'); at != std::string_view::npos) {
      term.dp = number<int>(rest.substr(at), "@");
      rest = rest.substr(0, at);
    }
    term.microbatches = range(rest);
    return term;
  }
  std::vector<Sum> sums() {
    std::vector<Sum> all;
    while (take("sum")) {
      Sum& sum = all.emplace_back();
      sum.microbatches = range(word());
      expect("->");
      const std::string into = word("a buffer");
      const auto [kind, number] = buffer(into);
      if (kind != Buffer::Kind::kSum && kind != Buffer::Kind::kAccumulator) fail(into, "%s or an accumulator");
      sum.accumulator = kind == Buffer::Kind::kSum ? -1 : number;
      expect("of");
      while (at("[")) sum.terms.push_back(term());
    }
    return all;
  }
  BucketItem item() {
    const std::string text = word("a gradient");
    std::string_view rest = text;
    BucketItem item{};
    item.drops = rest.ends_with('!');
    if (item.drops) rest.remove_suffix(1);
    const size_t first = rest.find(':'), second = rest.find(':', first + 1), dot = rest.find('.', second),
                 open = rest.find('['), at = rest.find('@');
    if (second == std::string_view::npos || dot > open || at == std::string_view::npos || open > at)
      fail(text, "a gradient like %7:0:3.0[0,64)@0");
    item.value = number<ValueId>(rest.substr(0, first), "%");
    item.contribution = number<size_t>(rest.substr(first + 1, second - first - 1));
    item.target = {number<size_t>(rest.substr(second + 1, dot - second - 1)),
                   number<size_t>(rest.substr(dot + 1, open - dot - 1))};
    item.elements = range(rest.substr(open, at - open));
    item.offset = number(rest.substr(at + 1));
    return item;
  }
  int group(const Program& program) {
    if (!at("group=")) return -1;
    const std::string name = option("group");
    for (size_t g = 0; g < program.groups.size(); ++g)
      if (program.groups[g].name == name) return static_cast<int>(g);
    fail(name, "a group that the program names before");
  }

 private:
  const std::string& line_;
  int number_;
  std::vector<std::string> words_;
  size_t next_ = 0;
};

Instruction parse_instruction(Words& words, const std::string& name, const Program& program) {
  const auto frame = [&] { return words.at("%f") ? words.buffer(Buffer::Kind::kFrame) : -1; };
  const auto accumulator = [&] { return words.buffer(Buffer::Kind::kAccumulator); };
  Instruction i{};
  if (name == "load") {
    i.kind = Kind::kLoad;
    i.frame = frame();
    i.microbatch = words.number(words.option("microbatch"));
  } else if (name == "run") {
    i.kind = Kind::kRun;
    i.index = words.number<int>(words.word(), "S");
    i.frame = frame();
    if (words.at("->") || words.at("+>")) {
      i.adds = words.word() == "+>";
      i.accumulator = accumulator();
      i.widens = words.take("f32");
    }
  } else if (name == "fetch") {
    i.kind = Kind::kFetch;
    i.index = words.number<int>(words.word(), "F");
    i.frame = frame();
  } else if (name == "exchange") {
    i.kind = Kind::kExchange;
    i.index = words.number<int>(words.word(), "E");
    i.frame = frame();
  } else if (name == "send" || name == "receive") {
    i.kind = name == "send" ? Kind::kSend : Kind::kReceive;
    i.index = words.number<int>(words.word(), "T");
    i.frame = frame();
  } else if (name == "free") {
    i.kind = Kind::kFree;
    i.frame = frame();
  } else if (name == "add") {
    i.kind = Kind::kAdd;
    i.from = accumulator();
    words.expect("+>");
    i.accumulator = accumulator();
    if (words.at("P")) i.index = words.number<int>(words.word(), "P");
  } else if (name == "begin_reduce_scatter") {
    i.kind = Kind::kBegin;
    i.index = words.number<int>(words.word(), "K");
    i.frame = frame();
    i.round = words.range(words.option("round"));
  } else if (name == "reduce_scatter") {
    i.kind = Kind::kReduceScatter;
    if (words.at("K")) i.index = words.number<int>(words.word(), "K");
    if (words.at("round=")) i.round = words.range(words.option("round"));
    i.sums = words.sums();
  } else if (name == "all_gather") {
    i.kind = Kind::kAllGather;
    i.gathered = words.buffer(words.word("a buffer")).first;
  } else if (name == "all_reduce" || name == "update" || name == "replay" || name == "barrier") {
    i.kind = name == "all_reduce" ? Kind::kAllReduce
             : name == "update"   ? Kind::kUpdate
             : name == "replay"   ? Kind::kReplay
                                  : Kind::kBarrier;
    words.take("%n");
  } else {
    words.fail(name, "an instruction");
  }
  i.group = words.group(program);
  return i;
}

void parse_header(Words& words, Program& program) {
  program.name = words.word();
  program.rank = words.number<int>(words.option("rank"));
  program.num_microbatches = words.number(words.option("microbatches"));
  program.layout = parse_layout(words.option("layout"), "program - layout");
}

void parse_segment(Words& words, Program& program) {
  Segment segment;
  segment.nodes = words.range(words.option("nodes"));
  segment.peak_bytes = words.number(words.option("peak_bytes"));
  if (words.take("parameters"))
    for (int64_t count = words.number(words.word()); count > 0; --count) segment.parameters.push_back(words.word());
  segment.reads = words.values("reads");
  segment.writes = words.values("writes");
  segment.drops = words.values("drops");
  if (words.take("gradients")) segment.gradients = words.numbers();
  segment.makes_loss = words.take("loss");
  segment.observes = words.take("observed");
  program.segments.push_back(std::move(segment));
}

}  // namespace

Program parse_program(const std::string& text) {
  Program program;
  int number = 0;
  for (const std::string& line : split(text, '\n')) {
    Words words(line, ++number);
    if (words.done()) continue;
    const std::string what = words.word();
    if (what == "program") {
      parse_header(words, program);
    } else if (what == "dealt") {
      program.dealt = words.numbers();
    } else if (what == "peers") {
      program.peers = words.numbers();
    } else if (what == "stages") {
      program.stages = words.numbers();
    } else if (what == "loss_stage") {
      program.pp_of_loss = words.number<int>(words.word());
    } else if (what == "group") {
      RankGroup& group = program.groups.emplace_back();
      group.name = words.word();
      group.ranks = words.numbers();
    } else if (what == "buffer") {
      Buffer buffer{};
      std::tie(buffer.kind, buffer.number) = words.buffer(words.word());
      buffer.bytes = words.number(words.option("bytes"));
      buffer.is_shared = words.take("shared");
      if (words.take("inside")) buffer.inside = words.buffer(Buffer::Kind::kAccumulator);
      program.buffers.push_back(buffer);
    } else if (what == "value") {
      const auto id = words.number<ValueId>(words.word(), "%");
      program.values[id] = graph::parse_type(words.word());
    } else if (what == "segment") {
      words.word();
      parse_segment(words, program);
    } else if (what == "operands" && words.at("E")) {
      words.word();
      ExchangeOperands& exchange = program.exchanges.emplace_back();
      exchange.node = words.number<size_t>(words.option("node"));
      exchange.bytes = words.number(words.option("bytes"));
      exchange.shows = words.values("shows");
      exchange.receives = words.values("receives");
      exchange.drops = words.values("drops");
    } else if (what == "operands" && words.at("F")) {
      words.word();
      FetchOperands& fetch = program.fetches.emplace_back();
      fetch.node = words.number<size_t>(words.option("node"));
      fetch.unit = words.number<int>(words.option("unit"));
      words.expect("value");
      fetch.value = words.number<ValueId>(words.word(), "%");
    } else if (what == "operands" && words.at("T")) {
      words.word();
      TransferOperands& transfer = program.transfers.emplace_back();
      transfer.node = words.number<size_t>(words.option("node"));
      transfer.number = words.number<int>(words.option("number"));
      transfer.sends = words.at("to=");
      transfer.peer = words.number<int>(words.option(transfer.sends ? "to" : "from"));
      transfer.bytes = words.number(words.option("bytes"));
      transfer.slots = words.number<int>(words.option("slots"));
      transfer.values = words.values("values");
      transfer.drops = words.values("drops");
    } else if (what == "operands" && words.at("P")) {
      words.word();
      BlockOperands& block = program.blocks.emplace_back();
      block.stage = words.number<int>(words.option("stage"));
      block.held_bytes = words.number(words.option("held_bytes"));
      words.expect("segments");
      block.segments = words.numbers();
    } else if (what == "operands" && words.at("K")) {
      words.word();
      Bucket& bucket = program.buckets.emplace_back();
      while (!words.done()) bucket.push_back(words.item());
    } else {
      program.instructions.push_back(parse_instruction(words, what, program));
    }
    if (!words.done()) words.fail(words.word(), "the end of the line");
  }
  return program;
}

}  // namespace shoal::lower
