// A JSON schema as rules: each function takes one kind of schema; what is not known is refused by its
// pointer.
#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "shoal/error.h"
#include "text/constraint.h"
#include "text/grammar/automaton.h"
#include "text/grammar/json_rules.h"
#include "text/grammar/pattern.h"

namespace shoal::text {
namespace {

using grammar::Element;
using grammar::JsonRules;
using grammar::Rules;
using grammar::Sequence;
using Json = nlohmann::ordered_json;

constexpr int64_t kMostItems = 10'000;
constexpr int kDeepest = 100;

// What says nothing about the form of a value. `format` is such a word in the specification, too.
const std::set<std::string> kNotes = {"$schema",  "$id",         "$comment", "$defs",    "definitions",
                                      "title",    "description", "default",  "examples", "deprecated",
                                      "readOnly", "writeOnly",   "format",   "$anchor"};

class SchemaRules {
 public:
  explicit SchemaRules(const Json& schema) : root_(schema) {}

  std::shared_ptr<const Grammar> grammar(const Tokenizer& tokenizer) {
    const int32_t root = rules_.add();
    rules_.add_alternative(root, {value(root_, "")});
    return std::make_shared<grammar::Automaton>(
        rules_, root, std::vector<std::string>{"the schema, by $ref,"}, tokenizer, "schema");
  }

  std::shared_ptr<const Grammar> any_object(const Tokenizer& tokenizer) {
    const int32_t root = rules_.add();
    rules_.add_alternative(root, {json_.object()});
    return std::make_shared<grammar::Automaton>(rules_, root, std::vector<std::string>{}, tokenizer,
                                                "JSON object");
  }

 private:
  [[noreturn]] static void refuse(const std::string& pointer, const std::string& got,
                                  const std::string& want) {
    throw InputError(cat("schema - ", pointer.empty() ? "/" : pointer, ": got ", got, ", want ", want));
  }

  static std::string escaped(const std::string& key) {
    std::string out;
    for (const char c : key) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    return out;
  }

  /// Refuses keywords that are neither in `known` nor notes.
  static void check_keys(const Json& schema, const std::string& pointer, const std::set<std::string>& known) {
    for (const auto& [key, value] : schema.items())
      if (!known.contains(key) && !kNotes.contains(key))
        refuse(pointer + "/" + escaped(key), cat("'", key, "'"),
               cat("none here, or one of ", join(known, ", ")));
  }

  static int64_t count(const Json& schema, const std::string& pointer, const char* key, int64_t otherwise) {
    if (!schema.contains(key)) return otherwise;
    const Json& value = schema[key];
    if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > kMostItems)
      refuse(pointer + "/" + key, value.dump(), cat("an integer from 0 to ", kMostItems));
    return value.get<int64_t>();
  }

  Element value(const Json& schema, const std::string& pointer) {
    if (++depth_ > kDeepest) refuse(pointer, "schemas in schemas", cat("at most ", kDeepest, " of them"));
    const Element made = value_here(schema, pointer);
    --depth_;
    return made;
  }

  Element value_here(const Json& schema, const std::string& pointer) {
    if (schema.is_boolean() && schema.get<bool>()) return json_.value();
    if (!schema.is_object()) refuse(pointer, schema.dump(), "a schema: an object, or true");
    if (schema.contains("$ref")) return reference(schema, pointer);
    if (schema.contains("const")) {
      check_keys(schema, pointer, {"const", "type"});
      return rules_.one_of({rules_.text(schema["const"].dump())});
    }
    if (schema.contains("enum")) return enumeration(schema, pointer);
    for (const char* key : {"anyOf", "oneOf"})
      if (schema.contains(key)) return any_of(schema, pointer, key);
    if (schema.contains("allOf")) {
      check_keys(schema, pointer, {"allOf"});
      if (!schema["allOf"].is_array() || schema["allOf"].size() != 1)
        refuse(pointer + "/allOf", schema["allOf"].dump(), "one schema in a list");
      return value(schema["allOf"][0], pointer + "/allOf/0");
    }
    return typed(schema, pointer);
  }

  Element reference(const Json& schema, const std::string& pointer) {
    check_keys(schema, pointer, {"$ref"});
    const Json& target = schema["$ref"];
    const auto unknown = [&]() {
      refuse(pointer + "/$ref", target.dump(), "a place in this schema, such as \"#/$defs/name\"");
    };
    if (!target.is_string() || !target.get<std::string>().starts_with('#')) unknown();
    const auto path = target.get<std::string>().substr(1);
    const auto [known, added] = references_.emplace(path, 0);
    if (!added) return Rules::rule(known->second);
    const int32_t rule = known->second = rules_.add();
    const Json* found = nullptr;
    try {
      found = &root_.at(Json::json_pointer(path));
    } catch (const Json::exception&) {
      unknown();
    }
    rules_.add_alternative(rule, {value(*found, path)});
    return Rules::rule(rule);
  }

  Element enumeration(const Json& schema, const std::string& pointer) {
    check_keys(schema, pointer, {"enum", "type"});
    const Json& all = schema["enum"];
    if (!all.is_array() || all.empty()) refuse(pointer + "/enum", all.dump(), "a list of values");
    std::vector<std::string> texts;
    for (const auto& one : all) texts.push_back(one.dump());
    return json_.one_of_texts(texts);
  }

  Element any_of(const Json& schema, const std::string& pointer, const std::string& key) {
    check_keys(schema, pointer, {key});
    const Json& all = schema[key];
    if (!all.is_array() || all.empty()) refuse(pointer + "/" + key, all.dump(), "a list of schemas");
    std::vector<Sequence> alternatives;
    for (size_t i = 0; i < all.size(); ++i)
      alternatives.push_back({value(all[i], cat(pointer, "/", key, "/", i))});
    return rules_.one_of(std::move(alternatives));
  }

  /// By "type", or by what other keywords are about.
  Element typed(const Json& schema, const std::string& pointer) {
    if (!schema.contains("type")) {
      for (const char* key : {"properties", "required", "additionalProperties"})
        if (schema.contains(key)) return object(schema, pointer);
      for (const char* key : {"items", "minItems", "maxItems"})
        if (schema.contains(key)) return array(schema, pointer);
      for (const char* key : {"minLength", "maxLength", "pattern"})
        if (schema.contains(key)) return string(schema, pointer);
      check_keys(schema, pointer, {"type"});
      return json_.value();
    }
    const Json& type = schema["type"];
    if (type.is_string()) return of_type(schema, type.get<std::string>(), pointer);
    if (!type.is_array() || type.empty())
      refuse(pointer + "/type", type.dump(), "a type, or a list of types");
    std::vector<Sequence> alternatives;
    for (const auto& one : type) {
      if (!one.is_string()) refuse(pointer + "/type", type.dump(), "a list of types");
      alternatives.push_back(
          {of_type(for_type(schema, one.get<std::string>()), one.get<std::string>(), pointer)});
    }
    return rules_.one_of(std::move(alternatives));
  }

  /// The schema without what is about other types: with a list of types, each keyword is about one of them.
  static Json for_type(const Json& schema, const std::string& type) {
    static const std::map<std::string, std::set<std::string>> kAbout = {
        {"object", {"properties", "required", "additionalProperties"}},
        {"array", {"items", "minItems", "maxItems", "uniqueItems"}},
        {"string", {"minLength", "maxLength", "pattern"}}};
    Json own = schema;
    for (const auto& [other, keys] : kAbout)
      if (other != type && std::any_of(schema["type"].begin(), schema["type"].end(),
                                       [&](const Json& one) { return one == other; }))
        for (const auto& key : keys) own.erase(key);
    return own;
  }

  Element of_type(const Json& schema, const std::string& type, const std::string& pointer) {
    if (type == "object") return object(schema, pointer);
    if (type == "array") return array(schema, pointer);
    if (type == "string") return string(schema, pointer);
    check_keys(schema, pointer, {"type"});
    if (type == "number") return json_.number();
    if (type == "integer") return json_.integer();
    if (type == "boolean") return json_.one_of_texts({"true", "false"});
    if (type == "null") return json_.one_of_texts({"null"});
    refuse(pointer + "/type", "'" + type + "'", "object, array, string, number, integer, boolean or null");
  }

  Element string(const Json& schema, const std::string& pointer) {
    check_keys(schema, pointer, {"type", "minLength", "maxLength", "pattern"});
    const int64_t least = count(schema, pointer, "minLength", 0),
                  most = count(schema, pointer, "maxLength", -1);
    if (most >= 0 && most < least)
      refuse(pointer + "/maxLength", cat(most), cat("at least minLength, ", least));
    if (schema.contains("pattern")) {
      if (least > 0 || most >= 0)
        refuse(pointer + "/pattern", "a pattern together with a length", "one of both");
      if (!schema["pattern"].is_string()) refuse(pointer + "/pattern", schema["pattern"].dump(), "a string");
      Sequence sequence = rules_.text("\"");
      sequence.push_back(grammar::pattern_rules(schema["pattern"].get<std::string>(), rules_, json_,
                                                "schema - " + pointer + "/pattern"));
      rules_.append_text(sequence, "\"");
      return rules_.one_of({sequence});
    }
    if (least == 0 && most < 0) return json_.string();
    Sequence sequence = rules_.text("\"");
    sequence.push_back(rules_.repeated(json_.character(), least, most));
    rules_.append_text(sequence, "\"");
    return rules_.one_of({sequence});
  }

  Element array(const Json& schema, const std::string& pointer) {
    check_keys(schema, pointer, {"type", "items", "minItems", "maxItems"});
    const int64_t least = count(schema, pointer, "minItems", 0),
                  most = count(schema, pointer, "maxItems", -1);
    if (most >= 0 && most < least)
      refuse(pointer + "/maxItems", cat(most), cat("at least minItems, ", least));
    const Element none = json_.enclosed("[", std::nullopt, "]");
    if (most == 0) return none;
    const Element item =
        schema.contains("items") ? value(schema["items"], pointer + "/items") : json_.value();
    Sequence next = json_.comma();
    next.push_back(item);
    const Element more =
        rules_.repeated(rules_.one_of({next}), std::max<int64_t>(least - 1, 0), most < 0 ? -1 : most - 1);
    const Element some = json_.enclosed("[", rules_.one_of({{item, more}}), "]");
    return least > 0 ? some : rules_.one_of({{some}, {none}});
  }

  Element object(const Json& schema, const std::string& pointer) {
    check_keys(schema, pointer, {"type", "properties", "required", "additionalProperties"});
    const Json properties = schema.value("properties", Json::object()),
               required = schema.value("required", Json::array());
    if (!properties.is_object()) refuse(pointer + "/properties", properties.dump(), "an object");
    if (!required.is_array()) refuse(pointer + "/required", required.dump(), "a list of names");
    std::vector<std::pair<Element, bool>> members;  // in the schema's order; whether it has to be there
    for (const auto& [name, inner] : properties.items()) {
      const bool needed = std::find(required.begin(), required.end(), name) != required.end();
      members.emplace_back(
          member(rules_.text(Json(name).dump()), value(inner, pointer + "/properties/" + escaped(name))),
          needed);
    }
    for (const auto& name : required) {
      if (!name.is_string()) refuse(pointer + "/required", required.dump(), "a list of names");
      if (!properties.contains(name.get<std::string>()))
        members.emplace_back(member(rules_.text(name.dump()), json_.value()), true);
    }
    if (members.empty()) return free_object(schema, pointer);
    return closed_object(members);
  }

  Element member(Sequence key, Element value) {
    key.push_back(json_.space());
    rules_.append_text(key, ":");
    key.insert(key.end(), {json_.space(), value});
    return rules_.one_of({key});
  }

  /// Without named properties: any names, with values as additionalProperties says.
  Element free_object(const Json& schema, const std::string& pointer) {
    const Json more = schema.value("additionalProperties", Json(true));
    const Element none = json_.enclosed("{", std::nullopt, "}");
    if (more == false) return none;
    if (more == true) return json_.object();
    const Element one = member({json_.string()}, value(more, pointer + "/additionalProperties"));
    Sequence next = json_.comma();
    next.push_back(one);
    const Element some =
        json_.enclosed("{", rules_.one_of({{one, rules_.repeated(rules_.one_of({next}), 0, -1)}}), "}");
    return rules_.one_of({{some}, {none}});
  }

  /// The properties in order, those that need not be left out or not. From the last to the first: what may follow
  /// where something stands before (then a comma comes first), and where nothing does.
  Element closed_object(const std::vector<std::pair<Element, bool>>& members) {
    Element after = rules_.one_of({Sequence{}}), first = after;
    for (auto at = members.rbegin(); at != members.rend(); ++at) {
      const auto& [one, needed] = *at;
      Sequence with_comma = json_.comma();
      with_comma.insert(with_comma.end(), {one, after});
      std::vector<Sequence> later = {with_comma}, now = {{one, after}};
      if (!needed) {
        later.push_back({after});
        now.push_back({first});
      }
      after = rules_.one_of(std::move(later));
      first = rules_.one_of(std::move(now));
    }
    return json_.enclosed("{", first, "}");
  }

  const Json& root_;
  Rules rules_;
  JsonRules json_{rules_};
  std::map<std::string, int32_t> references_;  // rules by pointer
  int depth_ = 0;
};

}  // namespace

std::shared_ptr<const Grammar> grammar_of_schema(const Json& schema, const Tokenizer& tokenizer) {
  return SchemaRules(schema).grammar(tokenizer);
}
std::shared_ptr<const Grammar> any_json_object(const Tokenizer& tokenizer) {
  return SchemaRules(true).any_object(tokenizer);
}

}  // namespace shoal::text
