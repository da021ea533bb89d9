#include "text/grammar/rules.h"

#include <algorithm>

#include "text/utf8.h"

namespace shoal::text::grammar {
namespace {

/// Ranges in order, without overlaps, and without surrogates, which are no characters.
std::vector<Range> normal(std::vector<Range> ranges, bool negated) {
  std::sort(ranges.begin(), ranges.end());
  std::vector<Range> joined;
  for (const Range& range : ranges)
    if (!joined.empty() && range.first <= joined.back().second + 1)
      joined.back().second = std::max(joined.back().second, range.second);
    else
      joined.push_back(range);
  if (negated) {
    std::vector<Range> others;
    char32_t from = 0;
    for (const auto& [first, last] : joined) {
      if (first > from) others.emplace_back(from, first - 1);
      from = last + 1;
    }
    if (from <= 0x10FFFF) others.emplace_back(from, 0x10FFFF);
    joined = std::move(others);
  }
  std::vector<Range> whole;
  for (const auto& [first, last] : joined) {
    if (first < 0xD800) whole.emplace_back(first, std::min<char32_t>(last, 0xD7FF));
    if (last > 0xDFFF)
      whole.emplace_back(std::max<char32_t>(first, 0xE000), std::min<char32_t>(last, 0x10FFFF));
  }
  return whole;
}

ByteSet between(unsigned char first, unsigned char last) {
  ByteSet set;
  for (int byte = first; byte <= last; ++byte) set.set(byte);
  return set;
}

/// Appends the ways to write the characters of a range, each a sequence of byte ranges: cut until all its
/// characters differ in a last part of the bytes only, which takes all its values.
void ways(char32_t first, char32_t last,
          std::vector<std::vector<std::pair<unsigned char, unsigned char>>>& out) {
  for (const char32_t border : {0x7Fu, 0x7FFu, 0xFFFFu})
    if (first <= border && last > border) {
      ways(first, border, out);
      ways(border + 1, last, out);
      return;
    }
  const int more = first < 0x80 ? 0 : first < 0x800 ? 1 : first < 0x10000 ? 2 : 3;
  for (int i = 1; i <= more; ++i) {
    const char32_t low = (1u << (6 * i)) - 1;
    if ((first & ~low) == (last & ~low)) continue;
    if ((first & low) != 0) {
      ways(first, first | low, out);
      ways((first | low) + 1, last, out);
      return;
    }
    if ((last & low) != low) {
      ways(first, (last & ~low) - 1, out);
      ways(last & ~low, last, out);
      return;
    }
  }
  std::string from, to;
  append_utf8(from, first);
  append_utf8(to, last);
  auto& way = out.emplace_back();
  for (size_t i = 0; i < from.size(); ++i) way.emplace_back(from[i], to[i]);
}

}  // namespace

Element Rules::bytes(const ByteSet& set) {
  const auto [known, added] = known_sets_.emplace(set.to_string(), static_cast<int32_t>(byte_sets_.size()));
  if (added) byte_sets_.push_back(set);
  return {Element::Kind::kBytes, known->second};
}

Element Rules::one_of(std::vector<Sequence> alternatives) {
  if (alternatives.size() == 1 && alternatives[0].size() == 1) return alternatives[0][0];
  const int32_t made = add();
  for (auto& one : alternatives) add_alternative(made, std::move(one));
  return rule(made);
}

Element Rules::optional(Element element) { return one_of({{element}, {}}); }

Element Rules::repeated(Element element, int64_t least, int64_t most) {
  Sequence sequence(static_cast<size_t>(least), element);
  if (most < 0) {
    const int32_t rest = add();
    add_alternative(rest, {element, rule(rest)});
    add_alternative(rest, {});
    sequence.push_back(rule(rest));
  } else if (most > least) {
    Element rest = optional(element);
    for (int64_t i = least + 1; i < most; ++i) rest = one_of({{element, rest}, {}});
    sequence.push_back(rest);
  }
  return one_of({sequence});
}

Element Rules::characters(std::vector<Range> ranges, bool negated) {
  std::vector<std::vector<std::pair<unsigned char, unsigned char>>> all;
  for (const auto& [first, last] : normal(std::move(ranges), negated)) ways(first, last, all);
  std::vector<Sequence> alternatives;
  ByteSet single;
  for (const auto& way : all) {
    if (way.size() == 1) {
      single |= between(way[0].first, way[0].second);
      continue;
    }
    Sequence sequence;
    for (const auto& [first, last] : way) sequence.push_back(bytes(between(first, last)));
    alternatives.push_back(std::move(sequence));
  }
  if (single.any() || alternatives.empty())
    alternatives.insert(alternatives.begin(), Sequence{bytes(single)});
  return one_of(std::move(alternatives));
}

void Rules::append_text(Sequence& sequence, std::string_view text) {
  for (const char byte : text) {
    const auto value = static_cast<unsigned char>(byte);
    sequence.push_back(bytes(between(value, value)));
  }
}

int32_t Rules::left_recursive() const {
  const auto count = static_cast<int32_t>(alternatives_.size());
  std::vector<bool> empty(count, false);  // whether a rule may stand for nothing
  for (bool changed = true; changed;) {
    changed = false;
    for (int32_t i = 0; i < count; ++i)
      for (const auto& sequence : alternatives_[i])
        if (!empty[i] && std::all_of(sequence.begin(), sequence.end(), [&](const Element& e) {
              return e.kind == Element::Kind::kRule && empty[e.index];
            }))
          changed = empty[i] = true;
  }
  struct Edge {
    int32_t to;
    bool grows;  // something is left to do behind it
  };
  std::vector<std::vector<Edge>> edges(count);
  for (int32_t i = 0; i < count; ++i)
    for (const auto& sequence : alternatives_[i])
      for (size_t at = 0; at < sequence.size() && sequence[at].kind == Element::Kind::kRule; ++at) {
        edges[i].push_back({sequence[at].index, at + 1 < sequence.size()});
        if (!empty[sequence[at].index]) break;
      }
  // A growing edge inside of a cycle: from its end, its beginning can be reached again.
  for (int32_t from = 0; from < count; ++from)
    for (const Edge& edge : edges[from]) {
      if (!edge.grows) continue;
      std::vector<bool> seen(count, false);
      std::vector<int32_t> next = {edge.to};
      while (!next.empty()) {
        const int32_t at = next.back();
        next.pop_back();
        if (at == from) return from;
        if (seen[at]) continue;
        seen[at] = true;
        for (const Edge& on : edges[at]) next.push_back(on.to);
      }
    }
  return -1;
}

}  // namespace shoal::text::grammar
