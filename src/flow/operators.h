// Steps that look at one row at a time: they keep the order of rows, and need nothing of other parts.
#pragma once

#include <memory>
#include <string>

#include "flow/arrow.h"
#include "flow/source.h"
#include "shoal/flow.h"

namespace shoal::flow {

class Sources;

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

/// Null for a join and for what is an exchange. Throws InputError where the step does not fit its input.
std::unique_ptr<Operator> make_operator(const FlowStep&, const SchemaPtr& in);

/// A join that holds its right side, which must outlive it, in memory: at most `memory_bytes`. It is read at the first
/// row.
std::unique_ptr<Operator> make_join(const FlowJoin&, const Sources& right, const SchemaPtr& in,
                                    int64_t memory_bytes, const std::string& place);

}  // namespace shoal::flow
