// shuffle: a sort by a number that the seed draws for each row, out of its columns' hash or of its place.
#include "base/hash.h"
#include "base/random.h"
#include "base/text.h"
#include "flow/exchange.h"

namespace shoal::flow {
namespace {

constexpr const char* kDraw = " draw";  // no user's column: names of columns do not begin with a space there

class ShuffleRuns final : public RunMaker {
 public:
  ShuffleRuns(const flow_steps::Shuffle& step, const KeyEncoder& by, const KeyEncoder& draws,
              const SchemaPtr& run_schema, int64_t part, const std::string& place)
      : step_(step),
        by_(by),
        run_schema_(run_schema),
        place_(place),
        part_(static_cast<uint64_t>(part)),
        inner_(collect_rows(draws, run_schema, part, place)) {}

  void add(const Batch& batch) override {
    arrow::Int64Builder draws;
    require(draws.Reserve(batch->num_rows()), place_);
    if (by_.num_columns() > 0) {
      const Keys keys = by_.encode(*batch);
      for (int64_t row = 0; row < batch->num_rows(); ++row)
        draws.UnsafeAppend(static_cast<int64_t>(random_bits(step_.seed, 0, hash_bits(keys[row]))));
    } else {
      for (int64_t row = 0; row < batch->num_rows(); ++row)
        draws.UnsafeAppend(static_cast<int64_t>(random_bits(step_.seed, part_, next_++)));
    }
    std::vector<ArrayPtr> columns = batch->columns();
    columns.push_back(value(draws.Finish(), place_));
    inner_->add(arrow::RecordBatch::Make(run_schema_, batch->num_rows(), columns));
  }
  int64_t bytes() const override { return inner_->bytes(); }
  SortedRows finish() override { return inner_->finish(); }

 private:
  const flow_steps::Shuffle& step_;
  const KeyEncoder& by_;
  SchemaPtr run_schema_;
  std::string place_;
  uint64_t part_, next_ = 0;
  std::unique_ptr<RunMaker> inner_;
};

class ShuffleExchange final : public Exchange {
 public:
  ShuffleExchange(const flow_steps::Shuffle& step, SchemaPtr schema, std::string place)
      : step_(step),
        schema_(std::move(schema)),
        place_(std::move(place)),
        run_schema_(
            value(schema_->AddField(schema_->num_fields(), arrow::field(kDraw, arrow::int64())), place_)),
        by_(schema_, key_columns(step.by), place_),
        draws_(run_schema_, {{kDraw}}, place_) {}
  const SchemaPtr& out_schema() const override { return schema_; }
  const SchemaPtr& run_schema() const override { return run_schema_; }
  Names needs(const Names& wanted) const override {
    Names names = wanted;
    by_.add_names(names);
    return names;
  }
  std::unique_ptr<RunMaker> make_runs(int64_t part) const override {
    return std::make_unique<ShuffleRuns>(step_, by_, draws_, run_schema_, part, place_);
  }
  Batch reduce(const SortedRows& sorted, bool) const override {
    return value(sorted.rows->RemoveColumn(schema_->num_fields()), place_);
  }
  size_t whole_prefix(std::string_view key) const override { return key.size(); }

 private:
  flow_steps::Shuffle step_;
  SchemaPtr schema_;
  std::string place_;
  SchemaPtr run_schema_;
  KeyEncoder by_, draws_;
};

}  // namespace

std::unique_ptr<Exchange> make_shuffle(const flow_steps::Shuffle& step, const SchemaPtr& schema,
                                       const std::string& place) {
  return std::make_unique<ShuffleExchange>(step, schema, place);
}

}  // namespace shoal::flow
