#include "text/constraint.h"

#include <gtest/gtest.h>

#include <random>

#include "shoal/error.h"
#include "support/expect_error.h"
#include "text/golden.h"

namespace shoal::text {
namespace {

using Json = nlohmann::ordered_json;

/// A small vocabulary of byte pairs, with an end.
const Tokenizer& tokenizer() {
  static const auto made = [] {
    return make_tokenizer(parse_tokenizer_json(golden("llama3.json")["tokenizer"].dump(), "", "llama3.json"),
                          "llama3.json");
  }();
  return *made;
}

bool has(const std::vector<uint64_t>& mask, Token token) { return mask[token / 64] >> (token % 64) & 1; }

/// Whether the grammar takes the text as a whole, told byte by byte: each has to be allowed.
bool takes(const std::shared_ptr<const Grammar>& grammar, const std::string& text) {
  GrammarState state(grammar);
  std::vector<uint64_t> mask;
  for (const char byte : text) {
    const auto tokens = tokenizer().encode(std::string(1, byte));
    // A byte that is no character becomes U+FFFD in encode: look for its token.
    Token token = -1;
    for (Token one = 0; one < tokenizer().size(); ++one)
      if (tokenizer().piece(one) == std::string(1, byte)) token = one;
    state.allowed(mask);
    if (!has(mask, token)) return false;
    state.accept(token);
  }
  return state.can_end();
}

std::shared_ptr<const Grammar> gbnf(const std::string& text) { return parse_gbnf(text, tokenizer()); }
std::shared_ptr<const Grammar> schema(const Json& schema) { return grammar_of_schema(schema, tokenizer()); }

TEST(Gbnf, TakesWhatTheNotationSays) {
  const auto list = gbnf(
      "# a list\nroot ::= item (\", \" item)* # and on\nitem ::= [a-c]+ |\n  \"x\" \"y\"? | num{2} | "
      "num{4,5}\nnum ::= [^a-z\\n, ]\n");
  for (const std::string good :
       {"abc", "x", "xy", "12", "1234", "12345", "abc, x, 12", "\xC3\xA9\xE4\xB8\xAD"})
    EXPECT_TRUE(takes(list, good)) << good;
  for (const std::string bad : {"", "d", "1", "123", "123456", "abc,x", "abc, ", "xyy", "\xC3"})
    EXPECT_FALSE(takes(list, bad)) << bad;
  const auto nested = gbnf("root ::= \"(\" root \")\" | \"\" | .{3,}\n");
  for (const std::string good : {"", "()", "((()))", "(abc)",
                                 "a\xF0\x9F\x98\x80"
                                 "b"})
    EXPECT_TRUE(takes(nested, good)) << good;
  for (const std::string bad : {"(", "((", "ab", "a\xF0\x9F\x98"}) EXPECT_FALSE(takes(nested, bad)) << bad;
  const auto escapes = gbnf("root ::= \"\\\"\\\\\\x41\\u00e9\\U0001F600\\n\" [\\]\\-x] [a\\\\-]");
  EXPECT_TRUE(takes(escapes, "\"\\A\xC3\xA9\xF0\x9F\x98\x80\n]\\"));
  EXPECT_TRUE(takes(escapes, "\"\\A\xC3\xA9\xF0\x9F\x98\x80\n--"));
  EXPECT_TRUE(takes(gbnf("root ::= ((\"a\"*)*)* \"b\""), "aab"));
}

TEST(Gbnf, CharactersAreWholeInBytes) {
  // Against the obvious: each of these code points, in or out of the class.
  std::mt19937 draws(3);
  const std::vector<char32_t> interesting = {0,      0x7F,   0x80,   0x7FF,   0x800,   0xFFF,   0x1000,
                                             0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0x10FFFF};
  const auto utf8 = [](char32_t code) {
    std::string text;
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    text += static_cast<char>((more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0) | code >> (6 * more));
    for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80 | (code >> (6 * i) & 0x3F));
    return text;
  };
  for (int round = 0; round < 40; ++round) {
    char32_t first = interesting[draws() % interesting.size()],
             last = interesting[draws() % interesting.size()];
    if (round % 2) first = (first + draws() % 100) % 0xD000, last = first + draws() % 5000;
    if (first > last) std::swap(first, last);
    if (last > 0xD7FF && last < 0xE000) last = 0xD7FF;
    const bool negated = draws() % 2;
    char text[64];
    std::snprintf(text, sizeof text, "root ::= [%s\\U%08X-\\U%08X]", negated ? "^" : "",
                  static_cast<unsigned>(first), static_cast<unsigned>(last));
    const auto grammar = gbnf(text);
    for (char32_t code : interesting)
      for (const char32_t near :
           std::initializer_list<char32_t>{code, first, last, first + 1, last > 0 ? last - 1 : 0,
                                           last < 0x10FFFF ? last + 1 : last, first > 0 ? first - 1 : 0}) {
        if (near >= 0xD800 && near <= 0xDFFF) continue;
        EXPECT_EQ(takes(grammar, utf8(near)), (near >= first && near <= last) != negated)
            << text << " " << std::hex << static_cast<unsigned>(near);
      }
  }
}

TEST(Gbnf, RefusalsNameTheLine) {
  EXPECT_ERROR(gbnf("a ::= \"x\""), InputError,
               "grammar - rules: got none named 'root', want one, with which an answer begins");
  EXPECT_ERROR(gbnf("root ::= a"), InputError, "grammar - rule 'a': got no definition, want one");
  EXPECT_ERROR(gbnf("root ::= \"x\"\nroot ::= \"y\""), InputError,
               "grammar - line 2: got '\"y\"', want one definition of 'root'");
  EXPECT_ERROR(gbnf("root ::= root \"x\" | \"y\""), InputError,
               "grammar - rule 'root': got one that begins with itself, want its own name further right");
  EXPECT_ERROR_CONTAINS(gbnf("root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= a \"z\""),
                        "got one that begins with itself");
  EXPECT_ERROR(gbnf("root ::= root"), InputError,
               "grammar - rules: got ones that no text fits, want an end to them");
  EXPECT_ERROR(gbnf("root ::= (\"a\""), InputError, "grammar - line 1: got the end, want ')'");
  EXPECT_ERROR_CONTAINS(gbnf("root ::= \"a\"{3,2}"), "want {n}, {n,} or {n,m} with n <= m");
  EXPECT_ERROR_CONTAINS(gbnf("root ::= \"a\"{99999}"), "want a number up to 10000");
  EXPECT_ERROR_CONTAINS(gbnf("root ::= [a"), "want ']', the end of a class");
}

/// The obvious way: does the value satisfy the schema? Of schemas that this test draws.
bool valid(const Json& schema, const Json& value, const Json& root) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (schema.contains("$ref"))
    return valid(root.at(Json::json_pointer(schema["$ref"].get<std::string>().substr(1))), value, root);
  if (schema.contains("const")) return schema["const"] == value;
  if (schema.contains("enum"))
    return std::find(schema["enum"].begin(), schema["enum"].end(), value) != schema["enum"].end();
  if (schema.contains("anyOf"))
    return std::any_of(schema["anyOf"].begin(), schema["anyOf"].end(),
                       [&](const Json& one) { return valid(one, value, root); });
  const std::string type = schema.value("type", "");
  if (type == "string") {
    if (!value.is_string()) return false;
    int64_t length = 0;
    for (const unsigned char byte : value.get<std::string>()) length += (byte & 0xC0) != 0x80;
    return length >= schema.value("minLength", int64_t{0}) &&
           length <= schema.value("maxLength", int64_t{1} << 40);
  }
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "array") {
    if (!value.is_array()) return false;
    const auto size = static_cast<int64_t>(value.size());
    if (size < schema.value("minItems", int64_t{0}) || size > schema.value("maxItems", int64_t{1} << 40))
      return false;
    return std::all_of(value.begin(), value.end(), [&](const Json& item) {
      return valid(schema.value("items", Json(true)), item, root);
    });
  }
  if (type == "object") {
    if (!value.is_object()) return false;
    for (const auto& name : schema.value("required", Json::array()))
      if (!value.contains(name.get<std::string>())) return false;
    for (const auto& [name, item] : value.items()) {
      const Json more = schema.value("additionalProperties", Json(true));
      const Json inner = schema.contains("properties") && schema["properties"].contains(name)
                             ? schema["properties"][name]
                             : more;
      if (!valid(inner, item, root)) return false;
    }
    return true;
  }
  return true;
}

class RandomSchemas {
 public:
  explicit RandomSchemas(unsigned seed) : draws_(seed) {}
  Json next() {
    Json schema = draw(3);
    if (schema.is_object())
      schema["$defs"] = {
          {"tree",
           {{"type", "object"},
            {"properties", {{"v", {{"type", "integer"}}}, {"next", {{"$ref", "#/$defs/tree"}}}}},
            {"required", {"v"}},
            {"additionalProperties", false}}}};
    return schema;
  }
  unsigned below(unsigned count) { return draws_() % count; }

 private:
  Json draw(int deep) {
    switch (below(deep > 0 ? 13 : 8)) {
      case 0:
        return {{"type", "integer"}};
      case 1:
        return {{"type", "number"}, {"description", "ignored"}};
      case 2:
        return {{"type", "boolean"}};
      case 3:
        return {{"enum", {"red", 3, nullptr, "gr\xC3\xBCn \"q\"", {{"a", 1}}}}};
      case 4:
        return {{"const", below(2) ? Json("x\ny") : Json(4.5)}};
      case 5: {
        const unsigned least = below(4);
        return {{"type", "string"}, {"minLength", least}, {"maxLength", least + below(6)}};
      }
      case 6:
        return {{"type", "string"}};
      case 7:
        return {{"type", "null"}};
      case 8:
        return {{"$ref", "#/$defs/tree"}};
      case 9:
        return {{"anyOf", {draw(deep - 1), draw(deep - 1)}}};
      case 10: {
        const unsigned least = below(3);
        return {{"type", "array"},
                {"items", draw(deep - 1)},
                {"minItems", least},
                {"maxItems", least + below(3)}};
      }
      case 11:
        return {{"type", "object"}, {"additionalProperties", draw(0)}};
      default: {
        Json properties = Json::object(), required = Json::array();
        for (const char* name : {"a", "b/~", "c\"", "\xC3\xA9"})
          if (below(3)) {
            properties[name] = draw(deep - 1);
            if (below(2)) required.push_back(name);
          }
        return {{"type", "object"},
                {"properties", properties},
                {"required", required},
                {"additionalProperties", false}};
      }
    }
  }
  std::mt19937 draws_;
};

/// Tokens drawn from those that are allowed, the end now and then; "" where it does not come to one in time.
std::string random_answer(const std::shared_ptr<const Grammar>& grammar, RandomSchemas& draws) {
  GrammarState state(grammar);
  std::vector<uint64_t> mask;
  std::string answer;
  for (int i = 0; i < 400; ++i) {
    state.allowed(mask);
    std::vector<Token> tokens;
    bool end = false;
    for (Token token = 0; token < tokenizer().size(); ++token)
      if (has(mask, token)) tokenizer().is_end(token) ? void(end = true) : tokens.push_back(token);
    EXPECT_EQ(end, state.can_end());
    if (end && (tokens.empty() || draws.below(3) == 0)) return answer;
    // After a while what closes goes first, so that answers end.
    std::vector<Token> closing;
    for (const Token token : tokens)
      if (const auto piece = tokenizer().piece(token); piece == "\"" || piece == "}" || piece == "]")
        closing.push_back(token);
    const auto& from = i > 25 && !closing.empty() ? closing : tokens;
    const Token token = from[draws.below(static_cast<unsigned>(from.size()))];
    GrammarState copy(state);
    copy.accept(token);
    state.accept(token);
    EXPECT_EQ(copy.can_end(), state.can_end());
    answer += tokenizer().piece(token);
  }
  return "";
}

TEST(JsonSchema, RandomAnswersSatisfyRandomSchemas) {
  int answers = 0;
  for (unsigned seed = 0; seed < 60; ++seed) {
    RandomSchemas draws(seed);
    const Json drawn = draws.next();
    const auto grammar = schema(drawn);
    for (int i = 0; i < 5; ++i) {
      const std::string answer = random_answer(grammar, draws);
      if (answer.empty()) continue;
      ++answers;
      const Json value = Json::parse(answer, nullptr, false);
      ASSERT_FALSE(value.is_discarded()) << "seed " << seed << ": " << drawn << "\n" << answer;
      EXPECT_TRUE(valid(drawn, value, drawn)) << "seed " << seed << ": " << drawn << "\n" << answer;
    }
  }
  EXPECT_GT(answers, 200);
}

TEST(JsonSchema, TakesAndRefusesAnswers) {
  const auto person = schema({{"type", "object"},
                              {"properties",
                               {{"name", {{"type", "string"}}},
                                {"age", {{"type", "integer"}}},
                                {"tags", {{"type", "array"}, {"items", {{"type", "string"}}}}}}},
                              {"required", {"age"}},
                              {"additionalProperties", false}});
  for (const std::string good :
       {R"({"name":"Bo","age":3})", R"({"age":3})", R"({ "age" : -3 , "tags": [ "a","b" ] })",
        "{\n  \"age\": 0,\n  \"tags\": []\n}", R"({"name":"\u00e9\ud83d\ude00\n","age":0})"})
    EXPECT_TRUE(takes(person, good)) << good;
  for (const std::string bad :
       {R"({})", R"({"name":"Bo"})", R"({"age":3,"name":"Bo"})", R"({"age":03})", R"({"age":3.5})",
        R"({"age":3,})", R"({"age":3,"x":1})", R"({"name":"\ud83d","age":1})", R"({"name":"\q","age":1})",
        "{\"name\":\"\n\",\"age\":1}"})
    EXPECT_FALSE(takes(person, bad)) << bad;
  const auto optional =
      schema({{"properties", {{"a", true}, {"b", {{"type", {"string", "null"}}, {"maxLength", 2}}}}}});
  for (const std::string good : {"{}", R"({"a":[1,{"x":null}]})", R"({"b":null})", R"({"a":1.5e3,"b":"xy"})"})
    EXPECT_TRUE(takes(optional, good)) << good;
  for (const std::string bad : {R"({,"b":null})", R"({"b":"xyz"})", R"({"a":1 "b":null})"})
    EXPECT_FALSE(takes(optional, bad)) << bad;
  const auto any = any_json_object(tokenizer());
  for (const std::string good : {"{}", R"({"a":{"b":[{},[],"",1e5,true]}})"})
    EXPECT_TRUE(takes(any, good)) << good;
  for (const std::string bad : {"[]", "1", R"({"a"})", R"({a:1})"}) EXPECT_FALSE(takes(any, bad)) << bad;
}

TEST(JsonSchema, TakesSimplePatterns) {
  const auto of = [](const std::string& pattern) {
    return schema({{"type", "string"}, {"pattern", pattern}});
  };
  const auto date = of("^\\d{4}-\\d{2}(-\\d\\d)?$");
  for (const std::string good : {"\"2024-01\"", "\"2024-01-31\""}) EXPECT_TRUE(takes(date, good)) << good;
  for (const std::string bad : {"\"2024\"", "\"2024-01-3\"", "\"x2024-01\""})
    EXPECT_FALSE(takes(date, bad)) << bad;
  const auto somewhere = of("(foo|b[a-c]r)+");
  for (const std::string good : {"\"foo\"", "\"xxbcrfooyy\""}) EXPECT_TRUE(takes(somewhere, good)) << good;
  EXPECT_FALSE(takes(somewhere, "\"bdr\""));
  EXPECT_TRUE(takes(of("^a\"\\\\.[^\"x]$"), "\"a\\\"\\\\qy\""));
  EXPECT_ERROR_CONTAINS(
      of("^(?=a)b$"),
      "schema - /pattern: got '^(?=a)b$', want a group without special meaning at character 4");
  EXPECT_ERROR_CONTAINS(of("^a$|b"), "only simple expressions are supported");
  EXPECT_ERROR_CONTAINS(of("a{1,2"), "want {n}, {n,} or {n,m} with n <= m");
}

TEST(JsonSchema, RefusesWhatItDoesNotKnowByItsPointer) {
  const auto refusal = [](const Json& wrong, const std::string& sentence) {
    EXPECT_ERROR_CONTAINS(schema(wrong), sentence);
  };
  refusal({{"type", "object"}, {"properties", {{"a/b", {{"type", "integer"}, {"minimum", 3}}}}}},
          "schema - /properties/a~1b/minimum: got 'minimum', want none here, or one of type");
  refusal(
      {{"type", "array"}, {"uniqueItems", true}},
      "schema - /uniqueItems: got 'uniqueItems', want none here, or one of items, maxItems, minItems, type");
  refusal({{"type", "text"}},
          "schema - /type: got 'text', want object, array, string, number, integer, boolean or null");
  refusal({{"not", {{"type", "null"}}}}, "schema - /not: got 'not'");
  refusal({{"$ref", "#/$defs/none"}}, "schema - /$ref: got \"#/$defs/none\", want a place in this schema");
  refusal({{"$ref", "https://example.org/x"}}, "schema - /$ref: got ");
  refusal({{"$ref", "#"}}, "schema - rules: got ones that no text fits");
  refusal({{"allOf", {true, true}}}, "schema - /allOf: got ");
  refusal({{"anyOf", {{{"type", "null"}}, false}}}, "schema - /anyOf/1: got false, want a schema");
  refusal({{"type", "string"}, {"minLength", 5}, {"maxLength", 4}},
          "schema - /maxLength: got 4, want at least minLength, 5");
  refusal({{"type", "string"}, {"minLength", -1}},
          "schema - /minLength: got -1, want an integer from 0 to 10000");
  refusal("x", "schema - /: got \"x\", want a schema: an object, or true");
}

TEST(GrammarState, EndsAreAllowedWhereNothingElseFits) {
  GrammarState state(gbnf("root ::= \"a\""));
  std::vector<uint64_t> mask;
  const Token a = tokenizer().encode("a")[0], end = tokenizer().spec().ends[0];
  state.allowed(mask);
  EXPECT_TRUE(has(mask, a));
  EXPECT_FALSE(has(mask, end));
  state.accept(a);
  state.allowed(mask);
  EXPECT_FALSE(has(mask, a));
  EXPECT_TRUE(has(mask, end));
  state.accept(end);
  EXPECT_TRUE(state.can_end());
  state.allowed(mask);
  EXPECT_TRUE(has(mask, end));
  EXPECT_FALSE(has(mask, a));
}

}  // namespace
}  // namespace shoal::text
