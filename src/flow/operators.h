// Steps that look at one row at a time: they keep the order of rows, and need nothing of other parts.
#pragma once

#include <memory>
#include <string>

#include "flow/arrow.h"
#include "flow/source.h"
#include "shoal/flow.h"

namespace shoal::flow {

/// Belongs to one thread.
class Operator {
 public:
  virtual ~Operator() = default;
  virtual const SchemaPtr& out_schema() const = 0;
  /// The columns of its input without which it could not give these of its output.
  virtual Names needs(const Names& wanted) const = 0;
  /// The rows that follow are those of this part, from its first.
  virtual void begin_part(int64_t) {}
  virtual Batch apply(const Batch&) = 0;
  /// The stage whose runs it must see, all of them, before its first row; -1: none.
  virtual int table_stage() const { return -1; }
  virtual void set_table(const Batch&) {}
};

/// Throws InputError where the step does not fit its input. `memory_bytes` is what a join may hold of its
/// right side.
std::unique_ptr<Operator> make_operator(const FlowStep&, const SchemaPtr& in, int64_t memory_bytes);

/// The join, in a file of its own; what it reads is listed at once, and read at the first row.
std::unique_ptr<Operator> make_join(const FlowJoin&, const SchemaPtr& in, int64_t memory_bytes,
                                    const std::string& place);

}  // namespace shoal::flow
