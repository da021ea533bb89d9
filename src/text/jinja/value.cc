#include "text/jinja/value.h"

#include <algorithm>

#include "base/text.h"
#include "text/utf8.h"

namespace shoal::text::jinja {

const Value* Dict::find(const Value& key) const {
  for (const auto& [name, value] : entries)
    if (equal(name, key)) return &value;
  return nullptr;
}

const Value* Dict::find_name(std::string_view key) const {
  for (const auto& [name, value] : entries)
    if (name.is_string() && name.string() == key) return &value;
  return nullptr;
}

void Dict::set(Value key, Value value) {
  for (auto& entry : entries)
    if (equal(entry.first, key)) {
      entry.second = std::move(value);
      return;
    }
  entries.emplace_back(std::move(key), std::move(value));
}

namespace {

constexpr int kDeepest = 100;

int depth_in(const Value& value) {
  if (value.is_function() || value.is<std::shared_ptr<Namespace>>())
    throw Problem(cat("got a ", value.type_name(), " inside of another value, want plain values"));
  const int depth = value.is_list() ? value.list_depth() : value.is_dict() ? value.dict().depth : 0;
  if (depth >= kDeepest) throw Problem(cat("got a value that nests deeper than ", kDeepest));
  return depth + 1;
}

}  // namespace

Value::Value(List value) {
  for (const Value& item : value.items) value.depth = std::max(value.depth, depth_in(item));
  data = std::make_shared<const List>(std::move(value));
}

Value::Value(Dict value) {
  value.depth = 0;
  for (const auto& [key, item] : value.entries)
    value.depth = std::max({value.depth, depth_in(key), depth_in(item)});
  data = std::make_shared<const Dict>(std::move(value));
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return number() != 0;
  if (is_string()) return !string().empty();
  if (is_list()) return !list().empty();
  if (is_dict()) return !dict().entries.empty();
  return true;
}

const char* Value::type_name() const {
  constexpr const char* kNames[] = {"Undefined", "NoneType", "bool", "int",       "float",
                                    "str",       "list",     "dict", "Namespace", "function"};
  return is_tuple() ? "tuple" : kNames[data.index()];
}

Value value_of(const nlohmann::ordered_json& json) {
  if (json.is_null()) return None{};
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX})
    throw Problem(cat("got the number ", json.dump(), ", want one of 64 bits with a sign"));
  if (json.is_number()) return json.get<int64_t>();
  if (json.is_array()) {
    List list;
    for (const auto& item : json) list.items.push_back(value_of(item));
    return list;
  }
  Dict dict;
  for (const auto& [key, item] : json.items()) dict.entries.emplace_back(key, value_of(item));
  return dict;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.data.index() != b.data.index()) return false;
  if (a.is_undefined() || a.is_none()) return true;
  if (a.is_string()) return a.string() == b.string();
  if (a.is_list() && &a.list() == &b.list()) return true;
  if (a.is_list())
    return a.is_tuple() == b.is_tuple() &&
           std::equal(a.list().begin(), a.list().end(), b.list().begin(), b.list().end(), equal);
  if (a.is_dict()) {
    if (a.dict().entries.size() != b.dict().entries.size()) return false;
    return std::all_of(a.dict().entries.begin(), a.dict().entries.end(), [&](const auto& entry) {
      const Value* other = b.dict().find(entry.first);
      return other != nullptr && equal(entry.second, *other);
    });
  }
  if (a.is_function())
    return std::get<std::shared_ptr<const Function>>(a.data) ==
           std::get<std::shared_ptr<const Function>>(b.data);
  return std::get<std::shared_ptr<Namespace>>(a.data) == std::get<std::shared_ptr<Namespace>>(b.data);
}

int compare(const Value& a, const Value& b) {
  if (a.is_undefined()) throw Problem(std::get<Undefined>(a.data).why);
  if (b.is_undefined()) throw Problem(std::get<Undefined>(b.data).why);
  if (a.is_integer() && b.is_integer()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  if (a.is_number() && b.is_number()) return a.number() < b.number() ? -1 : a.number() > b.number();
  if (a.is_string() && b.is_string()) return a.string().compare(b.string());
  if (a.is_list() && b.is_list()) {
    const size_t both = std::min(a.list().size(), b.list().size());
    for (size_t i = 0; i < both; ++i)
      if (!equal(a.list()[i], b.list()[i])) return compare(a.list()[i], b.list()[i]);
    return a.list().size() < b.list().size() ? -1 : a.list().size() > b.list().size();
  }
  throw Problem(cat("there is no order between ", a.type_name(), " and ", b.type_name()));
}

bool contains(const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) throw Problem(cat("'in' of a string: got ", item.type_name(), ", want a string"));
    return container.string().find(item.string()) != std::string::npos;
  }
  if (container.is_dict()) return container.dict().find(item) != nullptr;
  const auto items = items_of(container);
  return std::any_of(items.begin(), items.end(), [&](const Value& one) { return equal(one, item); });
}

std::vector<Value> items_of(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_list()) return value.list();
  std::vector<Value> items;
  if (value.is_dict()) {
    for (const auto& entry : value.dict().entries) items.push_back(entry.first);
    return items;
  }
  if (value.is_string()) {
    for (const auto character : characters(value.string())) items.emplace_back(std::string(character));
    return items;
  }
  throw Problem(
      cat("got ", value.type_name(), ", which has no items to go over, want a list, a dict or a string"));
}

const Value* Arguments::find(size_t place, std::string_view name) {
  used_.resize(named.size());
  if (place < positional.size()) {
    highest_ = std::max(highest_, place + 1);
    return &positional[place];
  }
  for (size_t i = 0; i < named.size(); ++i)
    if (named[i].first == name) {
      used_[i] = true;
      return &named[i].second;
    }
  return nullptr;
}

Value Arguments::get(size_t place, std::string_view name, Value otherwise) {
  const Value* value = find(place, name);
  return value == nullptr ? std::move(otherwise) : *value;
}

const Value& Arguments::need(size_t place, std::string_view name) {
  const Value* value = find(place, name);
  if (value == nullptr) throw Problem(cat("argument '", name, "' is missing"));
  return *value;
}

int64_t Arguments::integer(size_t place, std::string_view name, int64_t otherwise) {
  const Value* value = find(place, name);
  if (value == nullptr) return otherwise;
  if (!value->is_integer())
    throw Problem(cat("argument '", name, "': got ", value->type_name(), ", want an integer"));
  return value->integer();
}

const std::string& Arguments::text(size_t place, std::string_view name) {
  const Value& value = need(place, name);
  if (value.is_undefined()) throw Problem(std::get<Undefined>(value.data).why);
  if (!value.is_string())
    throw Problem(cat("argument '", name, "': got ", value.type_name(), ", want a string"));
  return value.string();
}

bool Arguments::flag(size_t place, std::string_view name, bool otherwise) {
  const Value* value = find(place, name);
  return value == nullptr ? otherwise : value->truth();
}

void Arguments::all_used(const std::string& callee) const {
  if (highest_ < positional.size())
    throw Problem(cat(callee, ": got ", positional.size(), " arguments, want at most ", highest_));
  for (size_t i = 0; i < named.size(); ++i)
    if (i >= used_.size() || !used_[i])
      throw Problem(cat(callee, ": got an argument '", named[i].first, "', which it does not have"));
}

}  // namespace shoal::text::jinja
