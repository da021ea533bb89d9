// sort and distinct: rows as they are, under (key, place).
#include "base/text.h"
#include "flow/exchange.h"
#include "flow/gather.h"
#include "flow/group_table.h"
#include "flow/key_order.h"
#include "flow/spare.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

/// Keys without the places behind them.
struct WithoutPlaces {
  const Keys& keys;
  int64_t size() const { return keys.size(); }
  std::string_view operator[](int64_t row) const {
    return keys[row].substr(0, keys[row].size() - kPlaceBytes);
  }
};

class Collector final : public RunMaker {
 public:
  /// With `tables`, of equal rows only the first.
  Collector(const KeyEncoder& encoder, SchemaPtr schema, int64_t part, Spare<GroupTable>* tables,
            std::string place)
      : encoder_(encoder),
        schema_(std::move(schema)),
        next_(part << kRowBits),
        tables_(tables),
        place_(std::move(place)) {}

  void add(const Batch& batch) override {
    if (batch->num_rows() == 0) return;
    const auto keys = std::make_shared<const Keys>(encoder_.encode(*batch, next_));
    next_ += batch->num_rows();
    if (tables_) return add_firsts(batch, *keys);
    for (int64_t row = 0; row < keys->size(); ++row) add_row((*keys)[row], row);
    bytes_ += num_bytes(*batch) + keys->bytes();
    batches_.push_back(batch);
    keys_.push_back(keys);
  }

  int64_t bytes() const override { return seen_ ? bytes_ + seen_->bytes() : bytes_; }

  SortedRows finish() override {
    std::vector<RowPlace> order;
    SortedRows run;
    order.reserve(views_.size());
    run.keys.reserve(views_.size());
    for (const int64_t row : sorted_rows(views_)) {
      order.push_back(places_[static_cast<size_t>(row)]);
      run.keys.push_back(views_[static_cast<size_t>(row)]);
    }
    run.rows = gather(schema_, batches_, order, place_);
    run.owner = std::make_shared<std::vector<std::shared_ptr<const void>>>(std::move(keys_));
    batches_.clear();
    keys_.clear();
    views_.clear();
    places_.clear();
    bytes_ = 0;
    seen_.reset();
    return run;
  }

 private:
  void add_row(std::string_view key, int64_t row) {
    views_.push_back(key);
    places_.push_back({static_cast<int32_t>(batches_.size()), static_cast<int32_t>(row)});
  }

  /// Only what is new is held: of a key that is there a million times one row.
  void add_firsts(const Batch& batch, const Keys& keys) {
    if (!seen_) seen_ = tables_->take();
    std::vector<int64_t> kept;
    const auto bytes = std::make_shared<std::string>();
    std::vector<size_t> ends = {0};
    int64_t known = seen_->size();
    seen_->find_or_add_all(WithoutPlaces{keys}, 0, keys.size(), number_of_);
    for (int64_t row = 0; row < keys.size(); ++row) {
      if (number_of_[static_cast<size_t>(row)] != known) continue;  // new ones get the next numbers
      ++known;
      kept.push_back(row);
      bytes->append(keys[row]);
      ends.push_back(bytes->size());
    }
    if (kept.empty()) return;
    const bool is_all = static_cast<int64_t>(kept.size()) == batch->num_rows();
    const Batch rows = is_all ? batch : take(batch, kept, place_);
    for (size_t i = 0; i < kept.size(); ++i)
      add_row(std::string_view(*bytes).substr(ends[i], ends[i + 1] - ends[i]), static_cast<int64_t>(i));
    bytes_ += num_bytes(*rows) + static_cast<int64_t>(bytes->size());
    batches_.push_back(rows);
    keys_.push_back(bytes);
  }

  const KeyEncoder& encoder_;
  SchemaPtr schema_;
  int64_t next_;
  Spare<GroupTable>* tables_;
  std::string place_;
  std::vector<Batch> batches_;
  std::vector<std::shared_ptr<const void>> keys_;
  std::vector<std::string_view> views_;  // of the keys of rows that are kept, and where those are
  std::vector<RowPlace> places_;
  int64_t bytes_ = 0;
  std::shared_ptr<GroupTable> seen_;  // none before the first row
  std::vector<int64_t> number_of_;  // of a batch's rows
};

class SortExchange final : public Exchange {
 public:
  SortExchange(const flow_steps::Sort& step, SchemaPtr schema, std::string place)
      : schema_(std::move(schema)),
        place_(std::move(place)),
        encoder_(schema_, key_columns(step.by), place_) {}
  const SchemaPtr& out_schema() const override { return schema_; }
  const SchemaPtr& run_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override {
    Names names = wanted;
    encoder_.add_names(names);
    return names;
  }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return collect_rows(encoder_, schema_, part, place_);
  }
  Batch reduce(const SortedRows& sorted, bool) const override { return sorted.rows; }
  size_t whole_prefix(std::string_view key) const override { return key.size(); }

 private:
  SchemaPtr schema_;
  std::string place_;
  KeyEncoder encoder_;
};

class DistinctExchange final : public Exchange {
 public:
  DistinctExchange(const flow_steps::Distinct& step, SchemaPtr schema, std::string place)
      : schema_(std::move(schema)),
        place_(std::move(place)),
        encoder_(schema_, key_columns(step.by.empty() ? names_of(*schema_) : step.by), place_) {}
  const SchemaPtr& out_schema() const override { return schema_; }
  const SchemaPtr& run_schema() const override { return schema_; }
  Names needs(const Names& wanted) const override {
    Names names = wanted;
    encoder_.add_names(names);
    return names;
  }
  bool shrinks() const override { return true; }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return std::make_unique<Collector>(encoder_, schema_, part, &tables_, place_);
  }
  size_t whole_prefix(std::string_view key) const override { return key.size() - kPlaceBytes; }

  Batch reduce(const SortedRows& sorted, bool) const override {
    tables_.release();  // no more runs are made
    std::vector<int64_t> firsts;
    std::string_view last;
    for (int64_t row = 0; row < sorted.rows->num_rows(); ++row) {
      std::string_view key = sorted.keys[static_cast<size_t>(row)];
      key.remove_suffix(kPlaceBytes);
      if (row == 0 || key != last) firsts.push_back(row);
      last = key;
    }
    return take(sorted.rows, firsts, place_);
  }

 private:
  SchemaPtr schema_;
  std::string place_;
  KeyEncoder encoder_;
  mutable Spare<GroupTable> tables_{[] { return std::make_unique<GroupTable>(); }};
};

}  // namespace

std::unique_ptr<RunMaker> collect_rows(const KeyEncoder& encoder, const SchemaPtr& schema, int64_t part,
                                       const std::string& place) {
  return std::make_unique<Collector>(encoder, schema, part, nullptr, place);
}

std::unique_ptr<Exchange> make_sort(const flow_steps::Sort& step, const SchemaPtr& schema,
                                    const std::string& place) {
  if (step.by.empty()) throw InputError(cat(place, ": got no column, want at least one"));
  return std::make_unique<SortExchange>(step, schema, place);
}

std::unique_ptr<Exchange> make_distinct(const flow_steps::Distinct& step, const SchemaPtr& schema,
                                        const std::string& place) {
  return std::make_unique<DistinctExchange>(step, schema, place);
}

std::pair<std::string, std::string> parse_call(const std::string& text, const std::string& place) {
  const size_t open = text.find('(');
  if (open == std::string::npos || open == 0 || text.back() != ')')
    throw InputError(cat(place, ": got ", text, ", want a call, as in sum(x)"));
  const auto trimmed = [](std::string word) {
    word.erase(0, word.find_first_not_of(' '));
    word.erase(word.find_last_not_of(' ') + 1);
    return word;
  };
  return {trimmed(text.substr(0, open)), trimmed(text.substr(open + 1, text.size() - open - 2))};
}

}  // namespace shoal::flow
