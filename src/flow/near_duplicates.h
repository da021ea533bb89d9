// near_duplicates: of texts that are nearly alike, the first is kept. Three stages (plan.cc):
//   bands    each row's place goes to the bands of its signature (min_hash.h): make_bands
//   links    places that meet in a band are linked, each to the first there
//   firsts   the same rows are read again; what is linked to an earlier row, over any number of links, goes:
//   KeepFirsts
// Only places and hashes travel: the rows stay where they are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "flow/exchange.h"
#include "flow/operators.h"

namespace shoal::flow {

/// Rows to links: two places, `first` and a later one.
std::unique_ptr<Exchange> make_bands(const flow_steps::NearDuplicates&, const SchemaPtr&,
                                     const std::string& place);

/// Keeps the rows that are linked to no earlier one. Links make clusters: each has the least of its places as
/// its root, whatever the order of the links, so the answer is that of the set of links alone.
class KeepFirsts final : public Operator {
 public:
  KeepFirsts(SchemaPtr schema, int links_stage, int64_t memory_bytes, std::string place)
      : schema_(std::move(schema)),
        links_stage_(links_stage),
        memory_bytes_(memory_bytes),
        place_(std::move(place)) {}
  const SchemaPtr& out_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override { return wanted; }
  int table_stage() const override { return links_stage_; }
  void set_table(const Batch& links) override;
  void begin_part(int64_t part) override;
  Batch apply(const Batch&) override;

 private:
  SchemaPtr schema_;
  int links_stage_;
  int64_t memory_bytes_;
  std::string place_;
  std::vector<int64_t> dropped_;  // places, ascending
  size_t at_ = 0;                 // of dropped_: the first that was not passed
  int64_t next_ = 0;
};

}  // namespace shoal::flow
