// What a flow reads: one source, or a mixture of several, one behind the other, each row as often as its
// source's weight says.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "flow/source.h"
#include "shoal/flow.h"

namespace shoal::flow {

/// Immutable; any thread.
class Sources {
 public:
  /// Throws InputError, also where the columns of one are not those of the first.
  Sources(const Flow&, const PartSize&);
  /// One alone.
  explicit Sources(Source);

  /// As Source::keep_columns, where there is one alone: of several, some may have their columns apart and some not.
  void keep_columns(const Names&);
  const Source& first() const { return parts_of_.front().source; }

  const SchemaPtr& schema() const { return parts_of_.front().source.schema(); }
  int64_t num_parts() const { return static_cast<int64_t>(places_.size()); }
  int64_t part_bytes(int64_t part) const;
  std::string identity() const;
  /// A line for each, for people.
  std::string describe() const;

  struct Count {
    int64_t rows = 0;  // that were read, before any was taken twice
    BadRecords bad;
  };
  /// Hands out the rows of a part, in order.
  Count read(int64_t part, const std::function<void(const Batch&)>& take) const;

 private:
  struct Weighted {
    Source source;
    double weight;
    std::vector<int> columns;  // where those of the first are
  };
  Batch weighed(const Weighted&, const Batch&, int64_t part, int64_t first_row) const;
  void add(Source, double weight, const std::string& place);
  std::vector<Weighted> parts_of_;
  std::vector<std::pair<size_t, size_t>> places_;  // of each part: the source, and which of its parts
  uint64_t seed_ = 0;
};

/// "read a, b": what a flow reads, as one line.
std::string describe_read(const Flow&);

}  // namespace shoal::flow
