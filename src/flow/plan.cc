#include "flow/plan.h"

#include <algorithm>

#include "base/hash.h"
#include "base/text.h"
#include "flow/near_duplicates.h"
#include "flow/sample_writer.h"
#include "flow/split.h"
#include "flow/token_writer.h"
#include "flow/writers.h"
#include "shoal/error.h"
#include "text/identity.h"

namespace shoal::flow {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string pairs_text(const Pairs& pairs) {
  std::vector<std::string> texts;
  for (const auto& [name, expression] : pairs)
    texts.push_back(name == expression ? name : cat(name, " = ", expression));
  return join(texts, ", ");
}

template <class Named>
std::string calls_text(const std::vector<Named>& columns) {
  std::vector<std::string> texts;
  for (const auto& column : columns) texts.push_back(cat(column.name, " = ", column.call));
  return join(texts, ", ");
}

struct Describe {
  std::string operator()(const flow_steps::Filter& s) const { return cat("filter ", s.expression); }
  std::string operator()(const flow_steps::Select& s) const { return cat("select ", pairs_text(s.columns)); }
  std::string operator()(const flow_steps::WithColumn& s) const {
    return cat("with_column ", pairs_text(s.columns));
  }
  std::string operator()(const flow_steps::FlatMap& s) const {
    return cat("flat_map ", s.column, " by ", s.by, s.as.empty() ? "" : cat(" as ", s.as));
  }
  std::string operator()(const flow_steps::Map& s) const { return cat("map ", s.name); }
  std::string operator()(const flow_steps::Sample& s) const {
    return cat("sample ", s.fraction, " seed ", s.seed);
  }
  std::string operator()(const flow_steps::Distinct& s) const {
    return s.by.empty() ? "distinct" : cat("distinct by ", join(s.by, ", "));
  }
  std::string operator()(const flow_steps::NearDuplicates& s) const {
    return cat("near_duplicates ", s.column, " by ", s.shingles, ", ", s.bands, " bands of ", s.rows,
               s.similarity > 0 ? cat(", similarity ", s.similarity) : "", " seed ", s.seed);
  }
  std::string operator()(const flow_steps::GroupBy& s) const {
    return cat("group_by ", join(s.by, ", "), s.by.empty() ? "" : ": ", calls_text(s.aggregates));
  }
  std::string operator()(const flow_steps::Sort& s) const { return cat("sort ", join(s.by, ", ")); }
  std::string operator()(const flow_steps::Shuffle& s) const {
    return cat("shuffle ", s.by.empty() ? "" : cat("by ", join(s.by, ", "), " "), "seed ", s.seed);
  }
  std::string operator()(const flow_steps::Split& s) const {
    std::vector<std::string> parts;
    for (const auto& [name, share] : s.parts) parts.push_back(cat(name, " = ", share));
    return cat("split by ", join(s.by, ", "), ": ", join(parts, ", "), " seed ", s.seed);
  }
  std::string operator()(const flow_steps::Window& s) const {
    return cat("window by ", join(s.by, ", "), " order ", join(s.order, ", "), ": ", calls_text(s.columns));
  }
  std::string operator()(const FlowJoin& s) const {
    return cat("join ", s.kind, " on ", join(s.on, ", "), " with ", join(s.right.paths, ", "));
  }
};

std::unique_ptr<Exchange> make_exchange(const FlowStep& step, const SchemaPtr& schema) {
  if (const auto* sort = std::get_if<flow_steps::Sort>(&step.what))
    return make_sort(*sort, schema, step.place);
  if (const auto* shuffle = std::get_if<flow_steps::Shuffle>(&step.what))
    return make_shuffle(*shuffle, schema, step.place);
  if (const auto* distinct = std::get_if<flow_steps::Distinct>(&step.what))
    return make_distinct(*distinct, schema, step.place);
  if (const auto* window = std::get_if<flow_steps::Window>(&step.what))
    return make_window(*window, schema, step.place);
  if (const auto* group_by = std::get_if<flow_steps::GroupBy>(&step.what))
    return make_group_by(*group_by, schema, step.place);
  return nullptr;
}

/// All of an exchange's rows in one partition.
class OnePartition final : public Exchange {
 public:
  explicit OnePartition(std::unique_ptr<Exchange> inner) : inner_(std::move(inner)) {}
  const SchemaPtr& out_schema() const override { return inner_->out_schema(); }
  const SchemaPtr& run_schema() const override { return inner_->run_schema(); }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override { return inner_->make_runs(part); }
  Names needs(const Names& wanted) const override { return inner_->needs(wanted); }
  bool shrinks() const override { return inner_->shrinks(); }
  Batch reduce(const SortedRows& rows, bool is_only) const override { return inner_->reduce(rows, is_only); }
  size_t whole_prefix(std::string_view) const override { return 0; }

 private:
  std::unique_ptr<Exchange> inner_;
};

std::unique_ptr<Exchange> in_one_partition(std::unique_ptr<Exchange> exchange) {
  return std::make_unique<OnePartition>(std::move(exchange));
}

int64_t part_bytes_of(const FlowSettings& settings, const std::string& place) {
  if (settings.memory_bytes < (int64_t{16} << 20))
    throw InputError(cat(place, " - memory: got ",
                         human_bytes(static_cast<uint64_t>(std::max<int64_t>(settings.memory_bytes, 0))),
                         ", want at least 16 MiB"));
  if (settings.part_bytes == 0)
    return std::clamp<int64_t>(settings.memory_bytes / 64, int64_t{1} << 16, int64_t{1} << 25);
  if (settings.part_bytes < 256 || settings.part_bytes > settings.memory_bytes / 8)
    throw InputError(cat(place, " - part_bytes: got ", settings.part_bytes,
                         ", want 256 to an eighth of memory, ", settings.memory_bytes / 8));
  return settings.part_bytes;
}

/// A first stage that shrinks its rows gives a run for each part, so that few parts are less work. Who sets part_bytes
/// has said what a part is.
bool may_be_larger(const Flow& flow) {
  if (flow.settings.part_bytes != 0) return false;
  for (const FlowStep& step : flow.steps) {
    if (std::holds_alternative<flow_steps::GroupBy>(step.what) ||
        std::holds_alternative<flow_steps::Distinct>(step.what))
      return true;
    if (std::holds_alternative<flow_steps::Sort>(step.what) ||
        std::holds_alternative<flow_steps::Window>(step.what))
      break;
  }
  return false;
}

}  // namespace

std::string describe(const FlowStep& step) { return std::visit(Describe{}, step.what); }

std::vector<std::string> describe_steps(const Flow& flow) {
  std::vector<std::string> steps = {describe_read(flow)};
  for (const FlowStep& step : flow.steps) steps.push_back(describe(step));
  return steps;
}

Plan::Plan(const Flow& asked)
    : flow(with_sink_steps(asked)),
      part_bytes(part_bytes_of(asked.settings, asked.place)),
      run_bytes(asked.settings.part_bytes == 0 ? std::max(part_bytes, asked.settings.memory_bytes / 16)
                                               : part_bytes),
      source_part(part_bytes, may_be_larger(asked)),
      source(asked, source_part),
      tokenizer(open_tokenizer(asked.sink, cat(asked.place, " - write"))) {
  initialise_arrow();
  for (size_t s = 0; s < flow.steps.size(); ++s)
    if (const auto* join = std::get_if<FlowJoin>(&flow.steps[s].what))
      right_sources_.emplace(s, Sources(right_source(*join, flow.steps[s].place)));
  make_stages();
  check_writable(flow.sink, *out_schema(), cat(flow.place, " - write"));
  keep_needed_columns();
  make_stages();
}

void Plan::make_stages() {
  SchemaPtr schema = source.schema();
  stages.clear();
  splits.clear();
  folders.clear();
  stages.emplace_back();
  stages.back().source = &source;
  for (size_t s = 0; s < flow.steps.size(); ++s) {
    if (const auto* near = std::get_if<flow_steps::NearDuplicates>(&flow.steps[s].what)) {
      add_near_duplicates(s, *near, schema);
      continue;
    }
    if (std::holds_alternative<flow_steps::Split>(flow.steps[s].what) && s + 1 < flow.steps.size())
      throw InputError(cat(flow.steps[s].place, ": got steps behind it, want split as the last one"));
    const auto* const join = std::get_if<FlowJoin>(&flow.steps[s].what);
    if (join && meets_on_disk(*join, right_sources_.at(s).first(), flow.settings.memory_bytes / 16)) {
      add_join(s, *join, right_sources_.at(s), schema);
      schema = stages[stages.size() - 2].exchange->out_schema();
      continue;
    }
    Stage& stage = stages.back();
    if (auto op = operator_of(s, schema)) {
      schema = op->out_schema();
      stage.operators.push_back(std::move(op));
      stage.steps.push_back(s);
      continue;
    }
    auto exchange = make_exchange(flow.steps[s], schema);
    const bool is_last = s + 1 == flow.steps.size();
    if (flow.sink.format == "tokenizer" && is_last) exchange = in_one_partition(std::move(exchange));
    end_stage(s, std::move(exchange), schema);
    schema = stages[stages.size() - 2].exchange->out_schema();
  }
  if (column_of(*schema, kSplitColumn) >= 0) {
    schema = value(schema->RemoveField(schema->num_fields() - 1), flow.place);
    for (const auto& [name, share] : std::get<flow_steps::Split>(flow.steps.back().what).parts) {
      splits.push_back(name);
      if (makes_store(flow.sink) && name != "train" && name != "validation")
        throw InputError(cat(flow.steps.back().place, ": parts: got ", name,
                             ", want train and validation, the splits of a ",
                             flow.sink.format == "tokens" ? "token" : "sample", " store"));
    }
    if (!makes_store(flow.sink)) folders = splits;
  }
  stages.back().out_schema = schema;
}

/// Null where the step is an exchange.
std::unique_ptr<Operator> Plan::operator_of(size_t s, const SchemaPtr& in) const {
  const FlowStep& step = flow.steps[s];
  if (const auto* join = std::get_if<FlowJoin>(&step.what))
    return make_join(*join, right_sources_.at(s), in, operator_memory(), step.place);
  return make_operator(step, in);
}

/// The sources' columns without which the output could not be made: from the last stage to those before it.
void Plan::keep_needed_columns() {
  const auto written = [this](const arrow::Schema& schema) {
    if (flow.sink.format == "tokens") return Names{flow.sink.column};
    if (flow.sink.format == "samples") return sample_names(flow.sink, schema, flow.place);
    const std::vector<std::string> names = names_of(schema);
    return Names(names.begin(), names.end());
  };
  std::vector<Names> wanted(stages.size());  // of what a stage's exchange gives
  Names needed;
  std::map<size_t, Names> needed_right;  // of what each join gives, by step
  const auto of_join = [&](size_t step, const Names& names) {
    const auto* const join = std::get_if<FlowJoin>(&flow.steps[step].what);
    if (!join) return;
    needed_right[step].insert(join->on.begin(), join->on.end());
    needed_right[step].insert(names.begin(), names.end());
  };
  for (size_t s = stages.size(); s-- > 0;) {
    const Stage& stage = stages[s];
    Names names = stage.exchange ? stage.exchange->needs(wanted[s]) : written(*stage.out_schema);
    for (size_t op = stage.operators.size(); op-- > 0;) {
      of_join(stage.steps[op], names);
      names = stage.operators[op]->needs(names);
    }
    if (stage.join) of_join(stage.exchange_step, names);
    if (stage.input >= 0)
      wanted[static_cast<size_t>(stage.input)].merge(names);
    else if (stage.source == &source)
      needed.merge(names);
  }
  source.keep_columns(needed);
  for (const auto& [step, names] : needed_right) right_sources_.at(step).keep_columns(names);
}

/// Both sides, then what they give (merge_join.h).
void Plan::add_join(size_t s, const FlowJoin& step, const Sources& right, const SchemaPtr& schema) {
  const std::string& place = flow.steps[s].place;
  const JoinShape shape(step, schema, right.schema(), place);
  const int left = static_cast<int>(stages.size()) - 1;
  end_stage(s, join_side(shape, true, schema, place), schema);
  stages.back().input = -1;
  stages.back().source = &right;
  end_stage(s, join_side(shape, false, right.schema(), place), right.schema());
  stages[static_cast<size_t>(left) + 1].phase = ", right side";
  Stage& both = stages.back();
  both.input = left;
  both.right_input = left + 1;
  both.join = std::make_unique<MergeJoin>(shape, operator_memory(), place);
  end_stage(s, back_to_order(shape, place), both.join->out_schema());
}

/// The last stage ends in the exchange, and one that reads of it begins.
void Plan::end_stage(size_t step, std::unique_ptr<Exchange> exchange, const SchemaPtr& schema) {
  Stage& stage = stages.back();
  stage.out_schema = schema;
  stage.exchange = std::move(exchange);
  stage.exchange_step = step;
  stages.emplace_back();
  stages.back().input = static_cast<int>(stages.size()) - 2;
}

/// Bands, links, and the same rows again (near_duplicates.h).
void Plan::add_near_duplicates(size_t s, const flow_steps::NearDuplicates& step, const SchemaPtr& schema) {
  const std::string& place = flow.steps[s].place;
  const size_t bands = stages.size() - 1;
  end_stage(s, make_bands(step, schema, place), schema);
  stages[bands].phase = ", bands";
  const SchemaPtr links = stages[bands].exchange->out_schema();
  end_stage(s, make_distinct({}, links, place), links);
  stages[bands + 1].phase = ", links";
  Stage& again = stages.back();
  again.input = stages[bands].input;
  again.source = stages[bands].source;
  again.reads_again = true;
  again.steps = stages[bands].steps;
  again.steps_again = again.steps.size();
  SchemaPtr seen =
      again.input < 0 ? source.schema() : stages[static_cast<size_t>(again.input)].exchange->out_schema();
  for (size_t i = 0; i < again.steps.size(); ++i) {
    const int links_stage = stages[bands].operators[i]->table_stage();
    again.operators.push_back(links_stage >= 0
                                  ? std::make_unique<KeepFirsts>(seen, links_stage, operator_memory(),
                                                                 flow.steps[again.steps[i]].place)
                                  : operator_of(again.steps[i], seen));
    seen = again.operators.back()->out_schema();
  }
  again.operators.push_back(
      std::make_unique<KeepFirsts>(seen, static_cast<int>(bands) + 1, operator_memory(), place));
  again.steps.push_back(s);
}

int Plan::last_reader(size_t stage) const {
  int last = -1;
  for (size_t s = 0; s < stages.size(); ++s) {
    bool reads =
        stages[s].input == static_cast<int>(stage) || stages[s].right_input == static_cast<int>(stage);
    for (const auto& op : stages[s].operators) reads |= op->table_stage() == static_cast<int>(stage);
    if (reads) last = static_cast<int>(s);
  }
  return last;
}

std::string Plan::identity() const {
  std::string text = cat(source.identity(), join(describe_steps(flow), "\n"), "\nwrite ", flow.sink.format,
                         "\npart_bytes ", part_bytes, " ", run_bytes, source_part.may_be_larger ? " or larger" : "", "\n");
  for (const auto& [step, right] : right_sources_) text += right.identity();
  for (const Stage& stage : stages)
    if (stage.join) text += cat("join of stages ", stage.input, " and ", stage.right_input, "\n");
  if (tokenizer) text += cat("tokens of ", flow.sink.column, " by ", text::identity(tokenizer->spec()), "\n");
  if (flow.sink.format == "samples") text += sample_identity(flow.sink, *out_schema(), flow.place);
  if (flow.sink.format == "tokenizer")
    text += cat("tokenizer ", flow.sink.vocabulary, " ", flow.sink.pattern, " ",
                join(flow.sink.special, "\n"), "\n");
  return hash_hex(text);
}

}  // namespace shoal::flow

namespace shoal {

namespace {
/// The number, from 1, of the stage that reads the same rows as `s` for the first time.
size_t first_reader(const flow::Plan& plan, size_t s) {
  size_t first = 0;
  while (plan.stages[first].input != plan.stages[s].input) ++first;
  return first + 1;
}
}  // namespace

std::string explain(const Flow& asked) {
  const flow::Plan plan(asked);
  const Flow& flow = plan.flow;
  const auto size = [](int64_t bytes) { return human_bytes(static_cast<uint64_t>(bytes)); };
  std::string text = cat(flow.place, ": ", plan.stages.size(), " stages, parts of ", size(plan.part_bytes),
                         ", memory ", size(flow.settings.memory_bytes), "\n");
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    const flow::Stage& stage = plan.stages[s];
    if (stage.reads_again)
      text += cat("stage ", s + 1, "\n  read again what stage ", first_reader(plan, s), " reads\n");
    else if (stage.join)
      text += cat("stage ", s + 1, "\n  join the partitions of stages ", stage.input + 1, " and ",
                  stage.right_input + 1, ", about ", size(plan.part_bytes), " each\n");
    else if (stage.input < 0)
      text += cat("stage ", s + 1, "\n", stage.source->describe());
    else
      text += cat("stage ", s + 1, "\n  read the partitions of stage ", stage.input + 1, ", about ",
                  size(plan.part_bytes), " each\n");
    for (const size_t step : stage.steps) text += cat("  ", flow::describe(flow.steps[step]), "\n");
    if (stage.exchange)
      text += cat("  exchange: ", flow::describe(flow.steps[stage.exchange_step]), stage.phase, "\n");
    else
      text += cat("  write ", flow.sink.format, " to ", flow.sink.out,
                  plan.folders.empty() ? "" : cat(", in folders ", join(plan.folders, ", ")), ": ",
                  join(flow::names_of(*stage.out_schema), ", "), "\n");
  }
  return text;
}

}  // namespace shoal
