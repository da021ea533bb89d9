// Layouts as text and as plan files; and what makes one impossible.
#include "mesh/layout.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <tuple>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal {
namespace {

constexpr int64_t kMost = 256;  // of any axis: a job has no more devices (comm::kMaxDevices)

struct Axis {
  const char* name;
  int64_t least, most;
  void (*set)(Layout&, int64_t);
};
constexpr Axis kAxes[] = {
    {"dp", 1, kMost, [](Layout& layout, int64_t value) { layout.dp = value; }},
    {"tp", 1, kMost, [](Layout& layout, int64_t value) { layout.tp = value; }},
    {"zero", 0, 3, [](Layout& layout, int64_t value) { layout.zero = static_cast<int>(value); }},
    {"servers", 1, kMost, [](Layout& layout, int64_t value) { layout.servers = value; }},
    {"pp", 1, kMost, [](Layout& layout, int64_t value) { layout.pp = value; }},
};
constexpr const char* kServersPrefix = "servers:";
constexpr std::pair<Schedule, const char*> kSchedules[] = {{Schedule::k1F1B, "1f1b"},
                                                           {Schedule::kGPipe, "gpipe"},
                                                           {Schedule::kInterleaved1F1B, "interleaved_1f1b"},
                                                           {Schedule::kZeroBubble, "zero_bubble"},
                                                           {Schedule::kZeroBubbleH2, "zero_bubble_h2"},
                                                           {Schedule::kZeroBubbleV, "zero_bubble_v"}};
constexpr std::pair<Recompute, const char*> kRecomputes[] = {
    {Recompute::kNone, "none"}, {Recompute::kSelective, "selective"}, {Recompute::kAll, "all"}};

/// The name of an alternative, and the alternative of a name, null where there is none.
template <class Value, size_t N>
const char* name_of(const std::pair<Value, const char*> (&table)[N], Value value) {
  return std::ranges::find(table, value, &std::pair<Value, const char*>::first)->second;
}
template <class Value, size_t N>
const std::pair<Value, const char*>* find_named(const std::pair<Value, const char*> (&table)[N], const std::string& name) {
  const auto* const found = std::ranges::find_if(table, [&](const auto& each) { return name == each.second; });
  return found == std::end(table) ? nullptr : found;
}

const Axis* find_axis(const std::string& name) {
  for (const Axis& axis : kAxes)
    if (axis.name == name) return &axis;
  return nullptr;
}

/// Why `name` is no axis; `names` are those that are, `got` is what was written.
[[noreturn]] void refuse_axis(const std::string& place, const std::string& got, const std::string& name,
                              std::span<const std::string> names) {
  const std::string guess = nearest(name, names);
  throw InputError(
      cat(place, ": got ", got, ", an unknown axis; ",
          guess.empty() ? cat("a layout has ", join(names, ", ")) : cat("did you mean ", guess, "?")));
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

/// Takes axis by axis, each once.
class Reader {
 public:
  explicit Reader(std::string place) : place_(std::move(place)) {}

  /// Where what is taken next stands.
  void move_to(std::string place) { place_ = std::move(place); }

  /// `got` is what was written, `form` what stands before the number there.
  void take(const Axis& axis, std::optional<int64_t> value, const std::string& got, const std::string& form) {
    if (!value || *value < axis.least || *value > axis.most)
      throw InputError(cat(place_, ": got ", got, ", want ", form, "N, N a whole number from ", axis.least,
                           " to ", axis.most));
    give(axis.name, got, form);
    axis.set(layout_, *value);
  }

  /// "1f1b", "interleaved_1f1b:2".
  void take_schedule(const std::string& text, const std::string& got) {
    const size_t colon = text.find(':');
    const std::string name = text.substr(0, colon);
    const auto* const found = find_named(kSchedules, name);
    if (!found)
      throw InputError(cat(place_, ": got ", got, ", want 1f1b, gpipe, interleaved_1f1b:STAGES (on each device), zero_bubble, "
                           "zero_bubble_h2 or zero_bubble_v"));
    give("schedule", got, "schedule");
    layout_.schedule = found->first;
    const bool has_several = found->first == Schedule::kInterleaved1F1B;
    const std::optional<int64_t> stages = colon == std::string::npos ? std::nullopt : whole_number(text.substr(colon + 1));
    if (has_several ? !stages || *stages < 2 || *stages > kMost : colon != std::string::npos)
      throw InputError(cat(place_, ": got ", got, has_several ? ", want interleaved_1f1b:STAGES with 2 or more stages on each device, as in interleaved_1f1b:2"
                                                              : ", want no number: only interleaved_1f1b has several stages on a device"));
    layout_.stages_per_device = stages.value_or(found->first == Schedule::kZeroBubbleV ? 2 : 1);
  }

  void take_recompute(const std::string& text, const std::string& got) {
    const auto* const found = find_named(kRecomputes, text);
    if (!found) throw InputError(cat(place_, ": got ", got, ", want none, selective or all"));
    give("recompute", got, "recompute");
    layout_.recompute = found->first;
  }

  Layout finish() const {
    if (std::ranges::count(given_, "schedule") > 0 && layout_.pp == 1)
      throw InputError(cat(place_, ": got a schedule without pp, want pp=2 or more with it: it orders the stages of a pipeline"));
    if (std::ranges::count(given_, "zero") > 0 && layout_.servers > 0)
      throw InputError(cat(place_, ": got zero=", layout_.zero, " with ", layout_.servers,
                           layout_.servers == 1 ? " server" : " servers",
                           "; servers own all weights and optimizer state, so leave zero out"));
    return layout_;
  }

 private:
  void give(const std::string& name, const std::string& got, const std::string& form) {
    if (std::ranges::count(given_, name) > 0)
      throw InputError(cat(place_, ": got ", got, " after another ", form, "; say it once"));
    given_.push_back(name);
  }

  std::string place_;
  Layout layout_;
  std::vector<std::string> given_;
};

Layout read_text(const std::string& text, const std::string& place) {
  static const std::string kNames[] = {"dp", "tp", "zero", "owners", "pp", "schedule", "recompute"};
  Reader reader(place);
  for (const std::string& part : split(text, ',')) {
    const std::string got = trimmed(part);
    const size_t equals = got.find('=');
    if (equals == std::string::npos)
      throw InputError(cat(place, ": got \"", got, "\", want axes and numbers, as in dp=2,tp=2"));
    const std::string name = trimmed(got.substr(0, equals)), value = trimmed(got.substr(equals + 1));
    if (name == "owners") {
      const bool is_servers = value.starts_with(kServersPrefix);
      reader.take(
          *find_axis("servers"),
          is_servers ? whole_number(value.substr(std::string_view(kServersPrefix).size())) : std::nullopt,
          got, cat("owners=", kServersPrefix));
      continue;
    }
    if (name == "schedule") {
      reader.take_schedule(value, got);
      continue;
    }
    if (name == "recompute") {
      reader.take_recompute(value, got);
      continue;
    }
    const Axis* const axis = name == "servers" ? nullptr : find_axis(name);
    if (!axis) refuse_axis(place, got, name, kNames);
    reader.take(*axis, whole_number(value), got, name + "=");
  }
  return reader.finish();
}

Layout read_plan(const std::string& path) {
  static const std::string kNames[] = {"dp", "tp", "zero", "servers", "pp", "schedule", "recompute"};
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    throw InputError(cat(path, " - no such file: want a plan (TOML with a [layout])"));
  if (!std::filesystem::is_regular_file(path, error))  // opening a fifo would wait for its writer
    throw InputError(
        cat(path, " - no regular file, which each device could read: want a plan (TOML with a [layout])"));
  std::ifstream stream(path);
  if (!stream) throw InputError(cat(path, " - cannot be read: want a plan (TOML with a [layout])"));
  toml::table table;
  try {
    table = toml::parse(stream);
  } catch (const toml::parse_error& problem) {
    throw InputError(cat(path, ":", problem.source().begin.line, " - not TOML: ", problem.description()));
  }
  for (const auto& [section, node] : table)
    if (section.str() != "layout" || !node.is_table())
      throw InputError(
          cat(path, ":", section.source().begin.line, " - ", section.str(), ": want [layout] alone"));
  if (table.empty())
    throw InputError(cat(path, " - layout: missing; want [layout] with ", join(kNames, ", ")));
  Reader reader(path + " - layout");
  for (const auto& [key, node] : *table["layout"].as_table()) {
    const std::string name(key.str()), place = cat(path, ":", key.source().begin.line, " - layout");
    const std::string value = node.visit([](const auto& item) { return cat(item); });
    if (name == "schedule" || name == "recompute") {
      reader.move_to(place);
      const std::string text = node.value_exact<std::string>().value_or(value), got = cat(name, " = ", value);
      name == "schedule" ? reader.take_schedule(text, got) : reader.take_recompute(text, got);
      continue;
    }
    const Axis* const axis = find_axis(name);
    if (!axis) refuse_axis(place, name, name, kNames);
    reader.move_to(place);
    reader.take(*axis, node.value_exact<int64_t>(), cat(name, " = ", value), name + " = ");
  }
  reader.move_to(path + " - layout");
  return reader.finish();
}

}  // namespace

Layout parse_layout(const std::string& text, const std::string& place) {
  return text.ends_with(".toml") ? read_plan(text) : read_text(text, place);
}

std::string print(const Layout& layout) {
  std::string text = cat("dp=", layout.dp);
  if (layout.tp != 1) text += cat(",tp=", layout.tp);
  if (layout.pp != 1) text += cat(",pp=", layout.pp);
  if (layout.schedule != Layout{}.schedule) {
    text += cat(",schedule=", name_of(kSchedules, layout.schedule));
    if (layout.schedule == Schedule::kInterleaved1F1B) text += cat(":", layout.stages_per_device);
  }
  if (layout.servers > 0)
    text += cat(",owners=", kServersPrefix, layout.servers);
  else if (layout.zero != Layout{}.zero)
    text += cat(",zero=", layout.zero);
  if (layout.recompute != Recompute::kNone)
    text += cat(",recompute=", name_of(kRecomputes, layout.recompute));
  return text;
}

namespace mesh {
namespace {

std::string counted(int64_t count, const char* what) { return cat(count, " ", what, count == 1 ? "" : "s"); }

/// The first of what tp divides that `pieces` does not divide, as "model.heads (8)"; "" when all are divided.
std::string undivided(const Limits& limits, int64_t pieces) {
  for (const auto& [name, size] : limits.divided)
    if (size % pieces != 0) return cat(name, " (", size, ")");
  return "";
}

std::string tensor_reason(int64_t tp, const Limits& limits) {
  const int64_t chunks = limits.tensor_chunks;
  if (chunks % tp == 0) {
    const std::string whole = undivided(limits, chunks);
    return whole.empty() ? ""
                         : cat("got tp=", tp, " with [numerics] tensor_chunks = ", chunks,
                               ", which does not divide ", whole);
  }
  if (const std::string whole = undivided(limits, tp); !whole.empty())
    return cat("tp=", tp, " needs [numerics] tensor_chunks = ", tp, ", which does not divide ", whole);
  if (chunks == 1)
    return cat("tp=", tp, " needs [numerics] tensor_chunks = ", tp, " (another run: other bits)");
  return cat("tp=", tp, " does not divide [numerics] tensor_chunks = ", chunks, "; it needs a multiple of ",
             tp, " there (another run: other bits)");
}

/// Why the layout cannot be; "" when it can.
std::string reason(const Layout& layout, const Limits& limits) {
  if (layout.dp < 1 || layout.dp > kMost || layout.tp < 1 || layout.tp > kMost || layout.zero < 0 ||
      layout.zero > 3 || layout.servers < 0 || layout.servers > kMost || layout.pp < 1 || layout.pp > kMost ||
      layout.stages_per_device < 1 || layout.stages_per_device > kMost)
    return cat("got dp=", layout.dp, ", tp=", layout.tp, ", pp=", layout.pp, ", zero=", layout.zero, ", servers=",
               layout.servers, ", want dp, tp and pp of at least 1, zero from 0 to 3, servers of at least 0");
  if (layout.pp == 1 && (layout.schedule != Layout{}.schedule || layout.stages_per_device != 1))
    return "got a schedule with pp=1, want pp=2 or more with it";
  const bool is_v = layout.schedule == Schedule::kZeroBubbleV;
  if (is_v ? layout.stages_per_device != 2
           : (layout.stages_per_device > 1) != (layout.schedule == Schedule::kInterleaved1F1B))
    return cat("got ", counted(layout.stages_per_device, "stage"),
               " on each device, want 2 or more with interleaved_1f1b, 2 with zero_bubble_v, and 1 with others");
  const bool is_plain = layout.schedule == Schedule::k1F1B || layout.schedule == Schedule::kGPipe;
  if (!is_plain && layout.zero >= 2 && limits.microbatches % layout.dp != 0)
    return cat("got zero=", layout.zero, " and ", name_of(kSchedules, layout.schedule), " with ", limits.microbatches, " microbatches, want a multiple of dp=", layout.dp);
  if (layout.devices() != limits.devices)
    return cat("got ", print(layout), ", which is ", counted(layout.devices(), "device"), ", want ",
               limits.devices);
  if (layout.servers > 0 && layout.zero != Layout{}.zero)
    return cat("got zero=", layout.zero, " with ", counted(layout.servers, "server"),
               "; servers own all weights and optimizer state, so leave zero at its default");
  if (layout.dp > limits.microbatches)
    return cat("got dp=", layout.dp, ", want at most train.microbatches (", limits.microbatches,
               "); a microbatch is never divided");
  if (layout.tp > 1)
    if (const std::string why = tensor_reason(layout.tp, limits); !why.empty()) return why;
  if (layout.zero >= 2 && layout.dp == 1)
    return cat("got zero=", layout.zero,
               " with dp=1, nothing to divide: zero needs dp > 1; use dp=2 or leave it out");
  return "";
}

/// The nearest layouts that work: few axes changed, by little; no servers where none were asked for.
std::string suggestions(const Layout& asked, const Limits& limits) {
  std::vector<std::pair<int64_t, Layout>> found;
  for (int64_t servers = 0; servers < limits.devices; ++servers)
    for (int64_t pp = 1; pp <= (asked.pp > 1 ? limits.devices - servers : 1); ++pp)
      for (int64_t tp = 1; tp <= (limits.devices - servers) / pp; ++tp) {
        if ((limits.devices - servers) % (tp * pp) != 0) continue;
        Layout layout{.dp = (limits.devices - servers) / tp / pp, .tp = tp, .servers = servers, .pp = pp};
        layout.recompute = asked.recompute;
        if (servers == 0 && asked.servers == 0 && layout.dp > 1) layout.zero = std::clamp(asked.zero, 0, 3);
        if (pp > 1) layout.schedule = asked.schedule, layout.stages_per_device = asked.stages_per_device;
        if (!reason(layout, limits).empty()) continue;
        const int64_t distance = std::abs(layout.dp - asked.dp) + std::abs(tp - asked.tp) + std::abs(pp - asked.pp) +
                                 std::abs(servers - asked.servers) * (asked.servers == 0 ? 4 : 1);
        found.emplace_back(distance, layout);
      }
  std::ranges::stable_sort(found, {}, [](const auto& item) { return item.first; });
  std::vector<std::string> texts;
  for (const auto& [distance, layout] : found)
    if (texts.size() < 3) texts.push_back(print(layout));
  return texts.empty()
             ? ""
             : cat("; what works on ", counted(limits.devices, "device"), ": ", join(texts, " or "));
}

}  // namespace

void check_layout(const Layout& layout, const Limits& limits, const std::string& place) {
  if (const std::string why = reason(layout, limits); !why.empty())
    throw InputError(cat(place, ": ", why, suggestions(layout, limits)));
}

Layout default_layout(const Limits& limits, const std::string& place) {
  const Layout layout{.dp = limits.devices};
  if (limits.devices > limits.microbatches)
    throw InputError(cat(place, ": got ", limits.devices, ", want at most train.microbatches (",
                         limits.microbatches, "); a microbatch is never divided",
                         suggestions(layout, limits)));
  check_layout(layout, limits, place);
  return layout;
}

}  // namespace mesh
}  // namespace shoal
