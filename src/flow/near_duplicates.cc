#include "flow/near_duplicates.h"

#include <algorithm>
#include <unordered_map>

#include "base/text.h"
#include "flow/min_hash.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

constexpr size_t kMostUnlike = 64;  // rows of a band that a row is compared with
constexpr size_t kHashBytes = 8;
// The first byte of a key: rows in a band (hash, place), or a link that is known already (place, first).
constexpr char kInBand = 0, kLink = 1;

std::string key_of(char kind, int64_t high, int64_t low) {
  return std::string(1, kind) + place_bytes(high) + place_bytes(low);
}
int64_t place_at(std::string_view key, size_t at) {
  uint64_t place = 0;
  for (const char c : key.substr(at, 8)) place = place << 8 | static_cast<unsigned char>(c);
  return static_cast<int64_t>(place);
}

/// Clusters of numbers 0, 1, ...: each has its least number as root.
class Clusters {
 public:
  size_t size() const { return parents_.size(); }
  void resize(size_t count) {
    while (parents_.size() < count) parents_.push_back(static_cast<uint32_t>(parents_.size()));
  }
  uint32_t root(uint32_t i) {
    while (parents_[i] != i) i = parents_[i] = parents_[parents_[i]];
    return i;
  }
  /// False: they were together already.
  bool unite(uint32_t a, uint32_t b) {
    a = root(a), b = root(b);
    parents_[std::max(a, b)] = std::min(a, b);
    return a != b;
  }

 private:
  std::vector<uint32_t> parents_;
};

/// Of one run a band's hash has one row, or, where texts are compared, those that are unlike each other: so
/// that a text that is there a million times is no burden to those who read the run. What a row is like in
/// the run itself is a link.
class BandRuns final : public RunMaker {
 public:
  BandRuns(const flow_steps::NearDuplicates& step, int column, const SchemaPtr& run_schema, int64_t part,
           const std::string& place)
      : step_(step),
        column_(column),
        run_schema_(run_schema),
        place_(place),
        next_(part << kRowBits),
        hasher_(step, place) {}

  void add(const Batch& batch) override {
    const auto& texts = static_cast<const arrow::StringArray&>(*batch->column(column_));
    for (int64_t row = 0; row < batch->num_rows(); ++row, ++next_)
      if (texts.IsValid(row) && hasher_.sign(texts.GetView(row))) add_row();
  }

  int64_t bytes() const override {
    return static_cast<int64_t>(entries_.size() * 80 + places_.size() * (16 + sketch_bytes())) +
           static_cast<int64_t>(links_.size()) * 32;
  }

  SortedRows finish() override {
    std::sort(entries_.begin(), entries_.end());
    const auto keys = std::make_shared<std::vector<std::string>>();
    arrow::BinaryBuilder sketches;
    for (const auto& [hash, row] : entries_) {
      keys->push_back(key_of(kInBand, static_cast<int64_t>(hash), places_[row]));
      if (sketch_bytes() > 0) require(sketches.Append(sketches_[row]), place_);
    }
    std::sort(links_.begin(), links_.end());
    for (const auto& [later, first] : links_) {
      keys->push_back(key_of(kLink, later, first));
      if (sketch_bytes() > 0) require(sketches.AppendNull(), place_);
    }
    SortedRows run;
    run.keys.assign(keys->begin(), keys->end());
    run.owner = keys;
    std::vector<ArrayPtr> columns;
    if (sketch_bytes() > 0) columns.push_back(value(sketches.Finish(), place_));
    run.rows = arrow::RecordBatch::Make(run_schema_, static_cast<int64_t>(run.keys.size()), columns);
    entries_.clear(), places_.clear(), sketches_.clear(), links_.clear(), known_.clear();
    clusters_ = Clusters();
    return run;
  }

 private:
  size_t sketch_bytes() const {
    return run_schema_->num_fields() == 0 ? 0 : static_cast<size_t>(step_.bands * step_.rows);
  }

  void add_row() {
    const uint32_t row = static_cast<uint32_t>(places_.size());
    places_.push_back(next_);
    if (sketch_bytes() > 0) sketches_.push_back(hasher_.sketch());
    clusters_.resize(row + 1);
    for (const uint64_t hash : hasher_.band_hashes()) {
      auto [known, is_new] = known_.try_emplace(hash);
      bool is_like_one = false;
      for (const uint32_t other : known->second) {
        is_like_one =
            sketch_bytes() == 0 || estimated_similarity(sketches_[row], sketches_[other]) >= step_.similarity;
        if (!is_like_one) continue;
        if (clusters_.unite(row, other)) links_.emplace_back(next_, places_[other]);
        break;
      }
      if (is_like_one || known->second.size() >= kMostUnlike) continue;
      known->second.push_back(row);
      entries_.emplace_back(hash, row);
    }
  }

  const flow_steps::NearDuplicates& step_;
  int column_;
  SchemaPtr run_schema_;
  std::string place_;
  int64_t next_;
  MinHasher hasher_;
  // of the run at hand
  std::vector<int64_t> places_;
  std::vector<std::string> sketches_;
  std::unordered_map<uint64_t, std::vector<uint32_t>> known_;
  std::vector<std::pair<uint64_t, uint32_t>> entries_;
  std::vector<std::pair<int64_t, int64_t>> links_;
  Clusters clusters_;
};

class BandExchange final : public Exchange {
 public:
  BandExchange(const flow_steps::NearDuplicates& step, const SchemaPtr& schema, std::string place)
      : step_(step), place_(std::move(place)) {
    column_ = want_column(*schema, step.column, place_);
    if (schema->field(column_)->type()->id() != arrow::Type::STRING)
      throw InputError(cat(place_, ": column ", step.column, ": got ",
                           type_name(*schema->field(column_)->type()), ", want text"));
    MinHasher(step, place_);  // says what does not fit
    out_schema_ =
        arrow::schema({arrow::field("first", arrow::int64()), arrow::field("later", arrow::int64())});
    arrow::FieldVector fields;
    if (step.similarity > 0) fields.push_back(arrow::field("sketch", arrow::binary()));
    run_schema_ = arrow::schema(fields);
  }
  const SchemaPtr& out_schema() const override { return out_schema_; }
  const SchemaPtr& run_schema() const override { return run_schema_; }
  Names needs(const Names&) const override { return {step_.column}; }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return std::make_unique<BandRuns>(step_, column_, run_schema_, part, place_);
  }
  size_t whole_prefix(std::string_view key) const override {
    return key.front() == kInBand ? 1 + kHashBytes : key.size();
  }

  Batch reduce(const SortedRows& sorted, bool) const override {
    arrow::Int64Builder firsts, laters;
    const auto link = [&](int64_t first, int64_t later) {
      require(firsts.Append(first), place_);
      require(laters.Append(later), place_);
    };
    const auto* sketches =
        step_.similarity > 0 ? &static_cast<const arrow::BinaryArray&>(*sorted.rows->column(0)) : nullptr;
    std::vector<int64_t> unlike;  // rows of the band at hand
    for (int64_t row = 0; row < sorted.rows->num_rows(); ++row) {
      const std::string_view key = sorted.keys[static_cast<size_t>(row)];
      if (key.front() == kLink) {
        link(place_at(key, 1 + kHashBytes), place_at(key, 1));
        continue;
      }
      if (row == 0 || sorted.keys[static_cast<size_t>(row) - 1].substr(0, 1 + kHashBytes) !=
                          key.substr(0, 1 + kHashBytes))
        unlike.clear();
      const auto same = std::find_if(unlike.begin(), unlike.end(), [&](int64_t other) {
        return !sketches ||
               estimated_similarity(sketches->GetView(row), sketches->GetView(other)) >= step_.similarity;
      });
      if (same != unlike.end())
        link(place_at(sorted.keys[static_cast<size_t>(*same)], 1 + kHashBytes),
             place_at(key, 1 + kHashBytes));
      else if (unlike.size() < kMostUnlike)
        unlike.push_back(row);
    }
    const ArrayPtr first = value(firsts.Finish(), place_), later = value(laters.Finish(), place_);
    return arrow::RecordBatch::Make(out_schema_, first->length(), {first, later});
  }

 private:
  flow_steps::NearDuplicates step_;
  std::string place_;
  int column_;
  SchemaPtr out_schema_, run_schema_;
};

}  // namespace

std::unique_ptr<Exchange> make_bands(const flow_steps::NearDuplicates& step, const SchemaPtr& schema,
                                     const std::string& place) {
  return std::make_unique<BandExchange>(step, schema, place);
}

void KeepFirsts::set_table(const Batch& links) {
  const int64_t bytes = links->num_rows() * 40;  // what follows holds, at most
  if (bytes > memory_bytes_)
    throw InputError(
        cat(place_, ": ", links->num_rows(), " links between rows that are alike take more than ",
            human_bytes(static_cast<uint64_t>(memory_bytes_)),
            ", an eighth of memory: set memory higher, or drop exact copies before, by distinct"));
  const auto& firsts = static_cast<const arrow::Int64Array&>(*links->column(0));
  const auto& laters = static_cast<const arrow::Int64Array&>(*links->column(1));
  std::vector<int64_t> places;
  for (const auto* column : {&firsts, &laters})
    for (int64_t i = 0; i < column->length(); ++i) places.push_back(column->Value(i));
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  const auto number_of = [&](int64_t place) {
    return static_cast<uint32_t>(std::lower_bound(places.begin(), places.end(), place) - places.begin());
  };
  Clusters clusters;
  clusters.resize(places.size());
  for (int64_t i = 0; i < firsts.length(); ++i)
    clusters.unite(number_of(firsts.Value(i)), number_of(laters.Value(i)));
  dropped_.clear();
  for (uint32_t i = 0; i < places.size(); ++i)
    if (clusters.root(i) != i) dropped_.push_back(places[i]);
}

void KeepFirsts::begin_part(int64_t part) {
  next_ = part << kRowBits;
  at_ = static_cast<size_t>(std::lower_bound(dropped_.begin(), dropped_.end(), next_) - dropped_.begin());
}

Batch KeepFirsts::apply(const Batch& batch) {
  std::vector<int64_t> kept;
  for (int64_t row = 0; row < batch->num_rows(); ++row, ++next_) {
    if (at_ < dropped_.size() && dropped_[at_] == next_)
      ++at_;
    else
      kept.push_back(row);
  }
  return static_cast<int64_t>(kept.size()) == batch->num_rows() ? batch : take(batch, kept, place_);
}

}  // namespace shoal::flow
