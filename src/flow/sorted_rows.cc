// sort and distinct: rows as they are, under (key, place).
#include <deque>

#include "base/text.h"
#include "flow/exchange.h"
#include "flow/group_table.h"
#include "shoal/error.h"

namespace shoal::flow {
namespace {

class Collector final : public RunMaker {
 public:
  Collector(const KeyEncoder& encoder, SchemaPtr schema, int64_t part, bool only_first, std::string place)
      : encoder_(encoder),
        schema_(std::move(schema)),
        next_(part << kRowBits),
        only_first_(only_first),
        place_(std::move(place)) {}

  void add(const Batch& batch) override {
    if (batch->num_rows() == 0) return;
    const Keys keys = encoder_.encode(*batch);
    std::vector<int64_t> kept;
    for (int64_t row = 0; row < keys.size(); ++row, ++next_) {
      if (only_first_) {
        const int64_t known = seen_.size();
        if (seen_.find_or_add(keys[row]) != known) continue;
        kept.push_back(row);
      }
      bytes_of_keys_.append(keys[row]);
      bytes_of_keys_.append(place_bytes(next_));
      offsets_.push_back(bytes_of_keys_.size());
    }
    Batch rows = batch;
    if (only_first_ && static_cast<int64_t>(kept.size()) < batch->num_rows())
      rows = take(batch, kept, place_);
    bytes_ += num_bytes(*rows);
    if (rows->num_rows() > 0) batches_.push_back(rows);
  }

  int64_t bytes() const override { return bytes_ + static_cast<int64_t>(bytes_of_keys_.size()); }

  SortedRows finish() override {
    const std::vector<int64_t> order = sorted_rows(bytes_of_keys_, offsets_);
    arrow::BinaryBuilder sorted;
    require(sorted.Reserve(static_cast<int64_t>(order.size())), place_);
    require(sorted.ReserveData(static_cast<int64_t>(bytes_of_keys_.size())), place_);
    for (const int64_t row : order) sorted.UnsafeAppend(key(static_cast<size_t>(row)));
    SortedRows run;
    run.keys = std::static_pointer_cast<arrow::BinaryArray>(value(sorted.Finish(), place_));
    run.rows = take(concatenate(schema_, batches_, place_), order, place_);
    batches_.clear();
    bytes_of_keys_.clear();
    offsets_ = {0};
    bytes_ = 0;
    seen_ = GroupTable();
    return run;
  }

 private:
  std::string_view key(size_t i) const {
    return std::string_view(bytes_of_keys_).substr(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }

  const KeyEncoder& encoder_;
  SchemaPtr schema_;
  int64_t next_;
  bool only_first_;
  std::string place_;
  std::vector<Batch> batches_;
  std::string bytes_of_keys_;
  std::vector<size_t> offsets_ = {0};
  int64_t bytes_ = 0;
  GroupTable seen_;
};

class SortExchange final : public Exchange {
 public:
  SortExchange(const flow_steps::Sort& step, SchemaPtr schema, std::string place)
      : schema_(std::move(schema)),
        place_(std::move(place)),
        encoder_(schema_, key_columns(step.by), place_) {}
  const SchemaPtr& out_schema() const override { return schema_; }
  const SchemaPtr& run_schema() const override { return schema_; }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return collect_rows(encoder_, schema_, part, false, place_);
  }
  Batch reduce(const SortedRows& sorted, const std::vector<int32_t>&, bool) const override {
    return sorted.rows;
  }
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
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return collect_rows(encoder_, schema_, part, true, place_);
  }
  size_t whole_prefix(std::string_view key) const override { return key.size() - kPlaceBytes; }

  Batch reduce(const SortedRows& sorted, const std::vector<int32_t>&, bool) const override {
    std::vector<int64_t> firsts;
    std::string_view last;
    for (int64_t row = 0; row < sorted.keys->length(); ++row) {
      std::string_view key = sorted.keys->GetView(row);
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
};

}  // namespace

std::unique_ptr<RunMaker> collect_rows(const KeyEncoder& encoder, const SchemaPtr& schema, int64_t part,
                                       bool only_first, const std::string& place) {
  return std::make_unique<Collector>(encoder, schema, part, only_first, place);
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
