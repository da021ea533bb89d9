// Who may ask, and how often: API keys, and a rate for each.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace shoal::serve {

/// The keys in a file: one on each line; empty lines and those that begin with # do not count. Throws InputError.
std::vector<std::string> read_keys(const std::string& path);

/// Any thread.
class Access {
 public:
  using Clock = std::chrono::steady_clock;
  /// No keys: everyone may. `per_minute` 0: as often as they like.
  Access(std::vector<std::string> keys, int64_t per_minute);

  bool has_keys() const { return !keys_.empty(); }
  /// Who that is by the Authorization header ("Bearer KEY"): "key-1" for the first key; without keys the address.
  /// Nothing where the key is none of ours. Takes equally long for every wrong key of a length.
  std::optional<std::string> client(const std::string& authorization, const std::string& address) const;
  /// Counts a request of the client: 0 where it may, else the seconds after which it may again. A client that
  /// has been quiet for a minute may send `per_minute` at once.
  double wait_seconds(const std::string& client, Clock::time_point now = Clock::now());

 private:
  struct Bucket {
    double left;
    Clock::time_point at;
  };
  const std::vector<std::string> keys_;
  const double per_minute_;
  std::mutex mutex_;
  std::map<std::string, Bucket> buckets_;
};

}  // namespace shoal::serve
