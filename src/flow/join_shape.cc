#include "flow/join_shape.h"

#include <algorithm>

#include "base/text.h"
#include "shoal/error.h"

namespace shoal::flow {

JoinShape::JoinShape(const FlowJoin& step, const SchemaPtr& left_schema, const SchemaPtr& right_schema,
                     const std::string& place)
    : num_left(left_schema->num_fields()),
      keeps_left(step.kind == "left" || step.kind == "outer"),
      keeps_right(step.kind == "right" || step.kind == "outer"),
      left(left_schema, key_columns(step.on), place),
      right(right_schema, key_columns(step.on), cat(place, ", right")),
      on_(step.on) {
  if (step.kind != "inner" && !keeps_left && !keeps_right)
    throw InputError(cat(place, ": kind: got ", step.kind, ", want inner, left, right or outer"));
  if (step.on.empty()) throw InputError(cat(place, ": on: got no column, want at least one that both have"));
  for (size_t c = 0; c < step.on.size(); ++c)
    if (left.kinds()[c] != right.kinds()[c])
      throw InputError(cat(place, ": on: column ", step.on[c], " is a ", left.kinds()[c],
                           " on the left and a ", right.kinds()[c], " on the right; make them alike first"));
  arrow::FieldVector fields = left_schema->fields();
  for (int c = 0; c < right_schema->num_fields(); ++c) {
    const auto& field = right_schema->field(c);
    if (std::find(step.on.begin(), step.on.end(), field->name()) != step.on.end()) continue;
    if (column_of(*left_schema, field->name()) >= 0)
      throw InputError(cat(place, ": both sides have a column ", field->name(),
                           "; name it otherwise on the left, by select"));
    fields.push_back(field);
    right_columns.push_back(c);
  }
  schema = arrow::schema(fields);
}

Names JoinShape::needs_of_left(const Names& wanted) const {
  Names names(on_.begin(), on_.end());
  for (int c = 0; c < num_left; ++c)
    if (wanted.contains(schema->field(c)->name())) names.insert(schema->field(c)->name());
  return names;
}

bool meets_on_disk(const FlowJoin& step, const Source& right, int64_t memory_bytes) {
  if (step.kind == "right" || step.kind == "outer") return true;
  constexpr int64_t kUnpacks = 8;  // how much larger a packed file is taken to be, where nothing tells
  int64_t bytes = 0;
  for (const SourcePart& part : right.parts())
    for (const Segment& segment : part.segments)
      bytes += part.bytes / static_cast<int64_t>(part.segments.size()) *
               (right.files()[static_cast<size_t>(segment.file)].packing == Packing::kNone ? 1 : kUnpacks);
  return bytes > memory_bytes;
}

}  // namespace shoal::flow
