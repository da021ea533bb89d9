#include "serve/access.h"

#include <algorithm>
#include <fstream>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::serve {
namespace {

constexpr size_t kMostBuckets = 10'000;  // of addresses; full ones are forgotten first

bool equal(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b.empty() ? 1 : b[i % b.size()]);
  return difference == 0;
}

}  // namespace

std::vector<std::string> read_keys(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw InputError(cat(path, " - cannot be read: want a file with an API key on each line"));
  std::vector<std::string> keys;
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && std::string_view(" \t\r").find(line.back()) != std::string_view::npos) line.pop_back();
    if (!line.empty() && line[0] != '#') keys.push_back(line);
  }
  if (keys.empty()) throw InputError(cat(path, " - keys: got none, want at least one, each on its line"));
  return keys;
}

Access::Access(std::vector<std::string> keys, int64_t per_minute)
    : keys_(std::move(keys)), per_minute_(static_cast<double>(per_minute)) {}

std::optional<std::string> Access::client(const std::string& authorization, const std::string& address) const {
  if (keys_.empty()) return address;
  constexpr std::string_view kBearer = "bearer ";
  std::string scheme = authorization.substr(0, kBearer.size());
  std::transform(scheme.begin(), scheme.end(), scheme.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  if (scheme != kBearer) return {};
  const std::string_view key = std::string_view(authorization).substr(kBearer.size());
  std::optional<std::string> found;
  for (size_t i = 0; i < keys_.size(); ++i)
    if (equal(key, keys_[i]) && !found) found = cat("key-", i + 1);
  return found;
}

double Access::wait_seconds(const std::string& client, Clock::time_point now) {
  if (per_minute_ == 0) return 0;
  const std::lock_guard lock(mutex_);
  const auto filled = [&](const Bucket& bucket) {
    const double seconds = std::chrono::duration<double>(now - bucket.at).count();
    return std::min(per_minute_, bucket.left + seconds * per_minute_ / 60);
  };
  if (buckets_.size() >= kMostBuckets)
    std::erase_if(buckets_, [&](const auto& entry) { return filled(entry.second) >= per_minute_; });
  if (buckets_.size() >= kMostBuckets && !buckets_.contains(client)) return 1;
  Bucket& bucket = buckets_.try_emplace(client, Bucket{per_minute_, now}).first->second;
  bucket = {filled(bucket), now};
  if (bucket.left < 1) return (1 - bucket.left) * 60 / per_minute_;
  bucket.left -= 1;
  return 0;
}

}  // namespace shoal::serve
