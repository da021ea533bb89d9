// A flow as stages: each reads parts, takes rows through steps that look at one row at a time, and ends in an
// exchange or in files.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "flow/exchange.h"
#include "flow/merge_join.h"
#include "flow/operators.h"
#include "flow/sources.h"
#include "shoal/flow.h"

namespace shoal::text {
class Tokenizer;
}

namespace shoal::flow {

struct Stage {
  const Sources* source = nullptr;  // what it reads, where no stage is its input
  std::vector<std::unique_ptr<Operator>> operators;
  std::vector<size_t> steps;           // of the flow: one for each operator
  SchemaPtr out_schema;                // of what the operators give
  std::unique_ptr<Exchange> exchange;  // null: the rows are written
  size_t exchange_step = 0;
  int input = -1;                   // the stage whose exchange gives its rows; -1: the source
  int right_input = -1;             // of a join: the stage that gives the rows of its right side
  std::unique_ptr<MergeJoin> join;  // makes one of both inputs
  bool reads_again = false;         // what an earlier stage read and counted...
  size_t steps_again = 0;           // ... and so many of its operators
  const char* phase = "";  // of an exchange whose rows are none of the flow's, so that nobody counts them
};

/// Belongs to one thread; every device makes its own, all alike.
struct Plan {
  /// Throws InputError where a step does not fit what comes to it; reads no more than the heads of files.
  explicit Plan(const Flow&);

  const Flow flow;  // with the steps that its sink needs
  int64_t part_bytes;
  int64_t run_bytes;  // what makes a run, where more rows make a run no larger (Exchange::shrinks)
  PartSize source_part;
  Sources source;
  std::shared_ptr<const text::Tokenizer> tokenizer;  // of format tokens
  std::vector<Stage> stages;
  std::vector<std::string> splits;   // names of the parts, where the last step is a split
  std::vector<std::string> folders;  // for each, but in a token store: there names of files tell them
  const SchemaPtr& out_schema() const { return stages.back().out_schema; }
  /// The last stage that needs the runs of this one.
  int last_reader(size_t stage) const;
  /// All that decides the output's bytes, as text.
  std::string identity() const;

 private:
  int64_t operator_memory() const { return flow.settings.memory_bytes / 8; }
  void make_stages();
  std::unique_ptr<Operator> operator_of(size_t step, const SchemaPtr& in) const;
  void keep_needed_columns();
  void add_join(size_t step, const FlowJoin&, const Sources& right, const SchemaPtr&);
  void end_stage(size_t step, std::unique_ptr<Exchange>, const SchemaPtr&);
  void add_near_duplicates(size_t step, const flow_steps::NearDuplicates&, const SchemaPtr&);
  std::map<size_t, Sources> right_sources_;  // of joins, by step
};

/// "filter length(text) > 10": a step as one line.
std::string describe(const FlowStep&);
/// describe() of read and of each step.
std::vector<std::string> describe_steps(const Flow&);

}  // namespace shoal::flow
