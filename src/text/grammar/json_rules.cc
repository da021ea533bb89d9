#include "text/grammar/json_rules.h"

namespace shoal::text::grammar {

// Answers that may add digits or spaces for ever sometimes do.
constexpr int64_t kMostDigits = 15, kMostIndent = 20;

Element JsonRules::digits(int64_t least, int64_t most) {
  return rules_.repeated(rules_.characters({{'0', '9'}}, false), least, most);
}

Element JsonRules::space() {
  if (!space_) {
    Sequence line = text("\n");
    line.push_back(rules_.repeated(rules_.characters({{' ', ' '}, {'\t', '\t'}}, false), 0, kMostIndent));
    space_ = rules_.one_of({{}, text(" "), line});
  }
  return *space_;
}

Element JsonRules::character() {
  if (character_) return *character_;
  const auto hex = [&](std::vector<Range> ranges) { return rules_.characters(std::move(ranges), false); };
  const Element any = hex({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}), d = hex({{'D', 'D'}, {'d', 'd'}});
  const Element not_d = hex({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}});
  const Element low = hex({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), high = hex({{'C', 'F'}, {'c', 'f'}});
  Sequence pair = {d, low, any, any};
  rules_.append_text(pair, "\\u");
  pair.insert(pair.end(), {d, high, any, any});
  const Element number = rules_.one_of({{not_d, any, any, any}, {d, hex({{'0', '7'}}), any, any}, pair});
  Sequence simple = text("\\"), unicode = text("\\u");
  simple.push_back(hex(
      {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}}));
  unicode.push_back(number);
  character_ = rules_.one_of(
      {{rules_.characters({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}, {0x7F, 0x7F}}, true)}, simple, unicode});
  return *character_;
}

Element JsonRules::string() {
  if (!string_) {
    Sequence sequence = text("\"");
    sequence.push_back(rules_.repeated(character(), 0, -1));
    rules_.append_text(sequence, "\"");
    string_ = rules_.one_of({sequence});
  }
  return *string_;
}

Element JsonRules::integer() {
  if (!integer_) {
    const Element whole =
        rules_.one_of({text("0"), {rules_.characters({{'1', '9'}}, false), digits(0, kMostDigits)}});
    const Element minus = rules_.optional(rules_.one_of({text("-")}));
    integer_ = rules_.one_of({{minus, whole}});
  }
  return *integer_;
}

Element JsonRules::number() {
  if (!number_) {
    Sequence fraction = text("."),
             exponent = {rules_.characters({{'e', 'e'}, {'E', 'E'}}, false),
                         rules_.optional(rules_.characters({{'+', '+'}, {'-', '-'}}, false))};
    fraction.push_back(digits(1, kMostDigits));
    exponent.push_back(digits(1, 2));  // up to 99: with 16 digits before, no double overflows
    number_ = rules_.one_of({{integer(), rules_.optional(rules_.one_of({fraction})),
                              rules_.optional(rules_.one_of({exponent}))}});
  }
  return *number_;
}

Element JsonRules::one_of_texts(const std::vector<std::string>& texts) {
  std::vector<Sequence> alternatives;
  for (const auto& one : texts) alternatives.push_back(text(one));
  return rules_.one_of(std::move(alternatives));
}

Sequence JsonRules::comma() {
  Sequence sequence = {space()};
  rules_.append_text(sequence, ",");
  sequence.push_back(space());
  return sequence;
}

Element JsonRules::enclosed(const char* open, std::optional<Element> items, const char* close) {
  Sequence sequence = text(open);
  sequence.push_back(space());
  if (items) sequence.insert(sequence.end(), {*items, space()});
  rules_.append_text(sequence, close);
  return rules_.one_of({sequence});
}

Element JsonRules::value() {
  if (!value_) {
    const int32_t rule = rules_.add();
    value_ = Rules::rule(rule);  // objects and arrays refer to it
    for (const Element& one :
         {object(), array(), string(), number(), one_of_texts({"true", "false", "null"})})
      rules_.add_alternative(rule, {one});
  }
  return *value_;
}

Element JsonRules::object() {
  if (!object_) {
    const int32_t rule = rules_.add();
    object_ = Rules::rule(rule);
    Sequence member = {string(), space()};
    rules_.append_text(member, ":");
    member.insert(member.end(), {space(), value()});
    Sequence next = comma();
    next.insert(next.end(), member.begin(), member.end());
    member.push_back(rules_.repeated(rules_.one_of({next}), 0, -1));
    rules_.add_alternative(rule, {enclosed("{", rules_.one_of({member}), "}")});
    rules_.add_alternative(rule, {enclosed("{", std::nullopt, "}")});
  }
  return *object_;
}

Element JsonRules::array() {
  if (!array_) {
    const int32_t rule = rules_.add();
    array_ = Rules::rule(rule);
    Sequence next = comma();
    next.push_back(value());
    rules_.add_alternative(
        rule,
        {enclosed("[", rules_.one_of({{value(), rules_.repeated(rules_.one_of({next}), 0, -1)}}), "]")});
    rules_.add_alternative(rule, {enclosed("[", std::nullopt, "]")});
  }
  return *array_;
}

}  // namespace shoal::text::grammar
