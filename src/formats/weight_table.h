// The weights of an open model by name: where they lie in a file, or how they are made of what lies there.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "formats/model_file.h"

namespace shoal::formats {

/// Filled by one thread, then read by any number of them.
class WeightTable {
 public:
  using Bytes = std::unique_ptr<std::byte[]>;

  void add(const std::string& name, const Weight&);
  /// One that has to be computed: `weight` says its type and shape, `make` gives its bytes, once, when it is
  /// first asked for. What it throws, find throws.
  void add(const std::string& name, const Weight& weight, std::function<Bytes()> make);

  bool has(const std::string& name) const { return entries_.contains(name); }
  std::optional<Weight> find(const std::string& name) const;
  std::vector<std::string> names() const;

  /// Throws InputError, which begins with `place`, unless these are the weights of a model of this config: of
  /// right shapes, none missing, and none that it would not use.
  void check(const ModelConfig&, const std::string& place) const;

 private:
  struct Entry {
    Weight weight;
    std::function<Bytes()> make;
    std::once_flag once;
    Bytes bytes;
  };
  std::map<std::string, std::unique_ptr<Entry>> entries_;
};

/// Bytes of the whole weight.
inline int64_t bytes_of(const Weight& weight) { return weight.rows * weight.row_bytes(); }

}  // namespace shoal::formats
