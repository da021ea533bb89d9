#include <nlohmann/json.hpp>

#include "flow/work_folder.h"

namespace shoal::flow {
namespace {

constexpr const char* kDigits = "0123456789abcdef";

std::string to_hex(const std::string& bytes) {
  std::string hex;
  for (const char c : bytes) {
    hex.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    hex.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return hex;
}

std::string from_hex(const std::string& hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  return bytes;
}

}  // namespace

std::string to_json(const PartRecord& record) {
  nlohmann::ordered_json json;
  json["counts"] = record.counts;
  json["rows_in"] = record.rows_in;
  json["rows_read"] = record.rows_read;
  json["bytes"] = record.bytes;
  json["bad_records"] = record.bad_records;
  json["first_bad_record"] = record.first_bad_record;
  json["runs"] = nlohmann::ordered_json::array();
  for (const RunRecord& run : record.runs) {
    std::vector<std::string> keys;
    for (const std::string& key : run.first_keys) keys.push_back(to_hex(key));
    json["runs"].push_back({{"file", run.file},
                            {"rows", run.rows},
                            {"bytes", run.bytes},
                            {"checksum", run.checksum},
                            {"keys", keys}});
  }
  json["files"] = nlohmann::ordered_json::array();
  for (const FileRecord& file : record.files)
    json["files"].push_back(
        {{"file", file.file}, {"rows", file.rows}, {"bytes", file.bytes}, {"checksum", file.checksum}});
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

PartRecord part_from_json(const std::string& text) {
  const auto json = nlohmann::json::parse(text);
  PartRecord record;
  record.counts = json.at("counts").get<std::vector<std::pair<int64_t, int64_t>>>();
  record.rows_in = json.at("rows_in");
  record.rows_read = json.at("rows_read");
  record.bytes = json.at("bytes");
  record.bad_records = json.at("bad_records");
  record.first_bad_record = json.at("first_bad_record");
  for (const auto& run : json.at("runs")) {
    RunRecord known{run.at("file"), run.at("rows"), run.at("bytes"), run.at("checksum"), {}};
    for (const auto& key : run.at("keys")) known.first_keys.push_back(from_hex(key.get<std::string>()));
    record.runs.push_back(std::move(known));
  }
  for (const auto& file : json.at("files"))
    record.files.push_back({file.at("file"), file.at("rows"), file.at("bytes"), file.at("checksum")});
  return record;
}

}  // namespace shoal::flow
